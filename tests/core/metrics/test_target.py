# SPDX-License-Identifier: Apache-2.0
"""The overlap and the shooting rule."""

from __future__ import annotations

import numpy as np
import pytest

from pitviper.core.metrics.components import find_components
from pitviper.core.metrics.profiles import PROFILES
from pitviper.core.metrics.target import count_overlapping, count_shots, count_targets


def test_overlap_rule() -> None:
    truth, predicted = np.zeros((2, 12, 12), np.bool_)
    truth[2:4, 2:4] = truth[8, 8] = True
    predicted[3:6, 3:6] = True
    counts, background = count_overlapping(predicted, truth)
    assert (counts.true, counts.predicted, counts.matched, counts.false_pixels) == (2, 1, 1, 8)
    assert background == 144 - 5


@pytest.mark.parametrize(("offset", "hit", "false"), [(0, 1, 0), (1, 1, 0), (2, 0, 0), (4, 0, 0), (5, 0, 1)])
def test_shooting_rule(offset: int, hit: int, false: int) -> None:
    truth, predicted = np.zeros((2, 20, 20), np.bool_)
    truth[10, 10] = True
    predicted[10 + offset, 10 + offset] = True
    counts = count_shots(predicted, truth)
    assert (counts.matched, counts.false_pixels) == (hit, false)


def test_shooting_hits_two_targets_with_one_pixel() -> None:
    truth, predicted = np.zeros((2, 9, 9), np.bool_)
    truth[4, 3] = truth[4, 5] = predicted[4, 4] = True
    assert count_shots(predicted, truth).matched == 2


def test_fa_leaves_out_the_excess_of_a_match_and_takes_the_smaller_of_two_equal_candidates() -> None:
    truth, predicted = np.zeros((2, 16, 16), np.bool_)
    truth[8, 8] = True
    predicted[7:10, 6] = True
    predicted[8, 10] = True
    counts = count_targets(find_components(truth), find_components(predicted), PROFILES["ours"])
    assert (counts.matched, counts.false_pixels) == (1, 1)
