# SPDX-License-Identifier: Apache-2.0
"""Frames and results for sinks, made by hand: no detector takes part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pitviper.kernels import extract_targets
from pitviper.sdk import Detections
from pitviper.sdk.maps import ProbabilityMap
from pitviper.sdk.sources import Frame, FrameTime

Shot = tuple[Frame, Detections]


def make_shot(
    index: int, places: dict[tuple[int, int], int], shape: tuple[int, int] = (60, 80), name: str | None = None
) -> Shot:
    """A 14-bit frame with bright squares, {(row, column): side}, and exactly these as its result."""
    image = np.random.default_rng(index).normal(7000, 10, shape).astype(np.uint16)
    probability = np.zeros(shape, np.float32)
    for (row, column), side in places.items():
        image[row : row + side, column : column + side] = 9000
        probability[row : row + side, column : column + side] = 0.9
    found = Detections.from_targets(
        extract_targets(probability, image, 0.5),
        shape,
        frame_id=index,
        name=name,
        probability=ProbabilityMap(probability, 0.5),
    )
    return Frame(image, index, FrameTime(index * 40_000_000, 1, 2), name), found


@pytest.fixture
def shot() -> Callable[..., Shot]:
    return make_shot


@pytest.fixture
def shots() -> list[Shot]:
    """Twelve frames: targets of 1, 2 x 2, 3 x 3 and 9 x 9 pixels, and every third frame empty."""
    sides = (1, 2, 3, 9)
    return [
        make_shot(index, {} if index % 3 == 2 else {(20 + index, 30): sides[index % 4], (5, 60): 1})
        for index in range(12)
    ]
