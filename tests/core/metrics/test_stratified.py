# SPDX-License-Identifier: Apache-2.0
"""Counts by class agree with those of the whole set."""

from __future__ import annotations

import numpy as np

from pitviper.core.metrics import CLASSES
from pitviper.core.metrics.profiles import get_profile
from pitviper.core.metrics.stratified import ClassCounts


def test_found_and_missed_targets_by_class() -> None:
    rng = np.random.default_rng(0)
    frame = rng.normal(500.0, 2.0, (96, 96))
    truth, predicted = np.zeros((96, 96), np.bool_), np.zeros((96, 96), np.bool_)
    truth[10:13, 10:13] = truth[40, 20:32] = truth[70:72, 70:72] = True
    frame[truth] += 200.0
    predicted[10:13, 10:12] = predicted[40, 20:32] = predicted[80:84, 10:14] = True
    counts = ClassCounts()
    counts.add(frame, predicted, truth, profile=get_profile("ours"), distance=3.0)
    counts.add(frame, predicted, np.zeros_like(truth), profile=get_profile("ours"), distance=3.0)
    found = counts.results()
    assert tuple(found) == CLASSES
    assert found["filamentary"].to_dict() == {"targets": 1, "found": 1, "pd": 1.0, "iou": 1.0}
    assert found["salient"].to_dict() == {"targets": 2, "found": 1, "pd": 0.5, "iou": 6 / 9}
    assert found["faint"].to_dict() == {"targets": 0, "found": 0, "pd": None, "iou": None}
