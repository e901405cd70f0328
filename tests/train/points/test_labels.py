# SPDX-License-Identifier: Apache-2.0
"""Points from masks: one for each target of 1, 2, 9 and 80 pixels, exact or as a hand would click."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper.core.datasets import DatasetError
from pitviper.core.points import require_points
from pitviper.train.points.labels import centroid_points, coarse_points, point_mask


def planted() -> NDArray[np.bool_]:
    mask = np.zeros((64, 64), np.bool_)
    for y, x, height, width in ((0, 63, 1, 1), (20, 9, 1, 2), (30, 40, 3, 3), (45, 12, 8, 10)):
        mask[y : y + height, x : x + width] = True
    return mask


def test_centroids() -> None:
    assert centroid_points(planted()).tolist() == [[0, 63], [20, 9], [31, 41], [48, 16]]
    assert centroid_points(planted()).dtype == np.int32
    assert centroid_points(planted() & False).shape == (0, 2)
    diagonal = np.eye(4, dtype=np.bool_)
    assert len(centroid_points(diagonal)) == 1, "8-connected"


def test_the_centroid_of_a_ring_lies_beside_it() -> None:
    ring = np.zeros((20, 20), np.bool_)
    ring[4:11, 4:11] = True
    ring[6:9, 6:9] = False
    (point,) = centroid_points(ring)
    assert not ring[tuple(point)]


def test_coarse_points_lie_on_targets_and_scatter() -> None:
    mask = planted()
    drawn = [coarse_points(mask, np.random.default_rng(seed)) for seed in range(300)]
    assert all(mask[p[:, 0], p[:, 1]].all() and len(p) == 4 for p in drawn)
    assert all(p[0].tolist() == [0, 63] for p in drawn), "a target of one pixel has one point"
    largest = np.array([p[3] for p in drawn])
    # Floor of a normal error: deviations of an eighth of the sides 8 and 10, and 1/12 of rounding.
    assert np.allclose(largest.std(axis=0), np.sqrt(np.array([1.0, 1.25]) ** 2 + 1 / 12), rtol=0.15)
    again = coarse_points(mask, np.random.default_rng(5))
    assert np.array_equal(again, coarse_points(mask, np.random.default_rng(5)))


def test_a_coarse_point_of_a_thin_ring_is_found() -> None:
    rows, columns = np.mgrid[:200, :200]
    radius = np.hypot(rows - 100, columns - 100)
    ring = (radius > 90) & (radius < 92)
    (point,) = coarse_points(ring, np.random.default_rng(0))
    assert ring[tuple(point)]


def test_refusals() -> None:
    shape = (64, 64)
    with pytest.raises(DatasetError, match="f: the point at row 64, column 0 is outside"):
        require_points(np.array([[3, 3], [64, 0]], np.int32), shape, name="f")
    with pytest.raises(DatasetError, match=r"\[N, 2\]"):
        require_points(np.zeros((2, 3), np.int32), shape, name="f")
    with pytest.raises(DatasetError, match="f: 2 points at row 3, column 4; a target has one point"):
        require_points(np.array([[3, 4], [1, 1], [3, 4]], np.int32), shape, name="f")
    none = np.zeros((0, 2), np.int32)
    assert require_points(none, shape, name="f") is none
    assert not point_mask(none, shape).any()
