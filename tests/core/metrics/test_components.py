# SPDX-License-Identifier: Apache-2.0
"""Components against a flood fill written from the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from pitviper.core.metrics.components import find_components, overlaps

masks = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9))


def flood_fill(mask: NDArray[np.bool_]) -> list[list[tuple[int, int]]]:
    """8-connected components as sorted pixel lists, in raster order of their first pixels."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = []
    while left:
        queue = [min(left)]
        left.remove(queue[0])
        for y, x in queue:
            near = [(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
            queue += [pixel for pixel in near if pixel in left]
            left -= set(near)
        found.append(sorted(queue))
    return found


@settings(max_examples=150, deadline=None)
@given(masks)
def test_find_components(mask: NDArray[np.bool_]) -> None:
    components, expected = find_components(mask), flood_fill(mask)
    assert len(components) == len(expected)
    for index, pixels in enumerate(expected):
        own = components.pixels[components.labels == index]
        assert sorted(divmod(int(flat), mask.shape[1]) for flat in own) == pixels
        assert components.area[index] == len(pixels)
        # Sums of small integers over a small count: the only rounding is that of one division.
        assert components.centroid_yx[index] == pytest.approx(np.mean(pixels, axis=0), rel=1e-15)
        assert components.mask(np.arange(len(expected)) == index).sum() == len(pixels)
    values = np.random.default_rng(0).normal(size=mask.shape).astype(np.float32)
    assert components.peaks(values).tolist() == [
        max(values[pixel] for pixel in pixels) for pixels in expected
    ]


@settings(max_examples=50, deadline=None)
@given(masks, st.integers(0, 2**32 - 1))
def test_overlaps(mask: NDArray[np.bool_], seed: int) -> None:
    other = np.random.default_rng(seed).random(mask.shape) < 0.5
    truth, predicted = find_components(mask), find_components(other)
    shared = overlaps(truth, predicted)
    expected = [[len(set(g) & set(q)) for q in flood_fill(other)] for g in flood_fill(mask)]
    assert shared.tolist() == (expected if len(truth) else [])


@pytest.mark.parametrize("area", [1, 2, 9, 80])
def test_planted_targets_keep_their_area(area: int) -> None:
    mask = np.zeros((40, 50), np.bool_)
    rows = {1: (1, 1), 2: (1, 2), 9: (3, 3), 80: (8, 10)}[area]
    mask[5 : 5 + rows[0], 30 : 30 + rows[1]] = True
    components = find_components(mask)
    assert components.area.tolist() == [area]
    assert components.centroid_yx[0].tolist() == [5 + (rows[0] - 1) / 2, 30 + (rows[1] - 1) / 2]
