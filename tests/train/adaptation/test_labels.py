# SPDX-License-Identifier: Apache-2.0
"""From a point to the outline of its target."""

from __future__ import annotations

import numpy as np
import pytest

from pitviper.train.adaptation.labels import shape_of

SIDE = 64


def frame(side: int, *, contrast: int = 900) -> tuple[np.ndarray, np.ndarray]:
    """A square target of this side at row 30, column 20, and the true mask."""
    pixels = np.random.default_rng(0).normal(7800, 12, (SIDE, SIDE))
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[30 : 30 + side, 20 : 20 + side] = True
    return (pixels + contrast * mask).astype(np.uint16), mask


@pytest.mark.parametrize("side", [1, 2, 3, 9])
def test_what_the_package_sees_is_the_label(side: int) -> None:
    raw, mask = frame(side)
    probability = np.where(mask, 0.9, 0.02).astype(np.float32)
    probability[5:8, 5:8] = 0.9  # a false object of the package: background, since nobody clicked it
    kind, label = shape_of(raw, probability, np.array([[30, 20]]), name="f")
    assert kind == "seen"
    assert (label == mask).all()


def test_edges_stand_in_where_it_sees_nothing() -> None:
    raw, mask = frame(4)
    nothing = np.zeros(raw.shape, np.float32)
    kind, label = shape_of(raw, nothing, np.array([[31, 21]]), name="f")
    assert kind == "edges"
    assert (label & mask).sum() == mask.sum()
    assert label.sum() <= 50
    dark = (2 * 7800 - raw.astype(int)).astype(np.uint16)
    assert shape_of(dark, nothing, np.array([[31, 21]]), name="f")[0] == "edges", "dark targets too"


def test_a_square_is_the_last_resort() -> None:
    raw, _ = frame(1, contrast=0)
    nothing = np.zeros(raw.shape, np.float32)
    for row, column, area in ((10, 10, 9), (0, 0, 4), (63, 20, 6)):
        kind, label = shape_of(raw, nothing, np.array([[row, column]]), name="f")
        assert (kind, label.sum()) == ("square", area)
        assert label[row, column]


def test_a_cloud_is_no_outline() -> None:
    """What the package sees as one object of a tenth of the frame teaches nothing about a target in it."""
    raw, _ = frame(1, contrast=0)
    cloud = np.zeros(raw.shape, np.float32)
    cloud[10:30, 10:30] = 0.9
    assert shape_of(raw, cloud, np.array([[20, 20]]), name="f")[0] != "seen"
