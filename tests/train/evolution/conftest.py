# SPDX-License-Identifier: Apache-2.0
"""Frames with two spots each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pitviper.core.datasets import Sample
from pitviper.train.data.store import make_frame
from pitviper.train.points.initial import initial_mask
from pitviper.train.points.source import PointFrame

SPOTS = ((12, 12), (40, 44))


def _frame(name: str, *, amplitude: float, points: tuple[tuple[int, int], ...] = SPOTS) -> PointFrame:
    rows, columns = np.mgrid[:64, :64]
    light = sum(amplitude * np.exp(-((rows - r) ** 2 + (columns - c) ** 2) / 3) for r, c in SPOTS)
    noise = np.random.default_rng(len(name)).normal(0, 1, (64, 64))
    raw = np.rint(60 + light + noise).astype(np.uint8)
    truth = np.asarray((light > amplitude / 2) & bool(points))
    labels = np.array(points, np.int32).reshape(-1, 2)
    found = initial_mask(raw, labels)
    sample = Sample(name, Path(name), None)
    return PointFrame(make_frame(name, raw, truth & False), labels, found, truth, sample)


@pytest.fixture(scope="session")
def spot_frame() -> Callable[..., PointFrame]:
    """Makes a frame of 64x64 with a spot of this amplitude at (12, 12) and (40, 44); edges find 100, and not 20."""
    return _frame
