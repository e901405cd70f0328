# SPDX-License-Identifier: Apache-2.0
"""Tiled equals whole, and a target on a seam is one target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitviper import sdk
from pitviper.sdk.tiling import tile_cuts

TILING = sdk.Tiling(max_pixels=40_000, side=192, overlap=64)


@given(st.integers(1, 90), st.integers(8, 24), st.integers(2, 7), st.sampled_from([1, 4, 8, 16]))
def test_cuts_cover_every_pixel_once(length: int, side: int, overlap: int, stride: int) -> None:
    length, side, overlap = length * stride, side * stride, overlap * stride
    cuts = tile_cuts(length, side, overlap)
    covered = [pixel for _, first, last in cuts for pixel in range(first, last)]
    assert covered == list(range(length))
    for origin, first, last in cuts:
        assert origin % stride == 0
        assert origin <= first < last <= min(origin + side, length)
        # Whatever is taken from a tile lies half an overlap inside it, or at the end of the frame.
        assert first == 0 or first - origin >= overlap // 2
        assert last == length or origin + side - last >= overlap // 2
    assert cuts[-1][0] + min(side, length) == length


def test_tiled_equals_whole_exactly(make_detector: Callable[..., Any], plant: Callable[..., Any]) -> None:
    rng = np.random.default_rng(3)
    targets = {(int(r), int(c)): 1 + i % 3 for i, (r, c) in enumerate(rng.integers(0, 290, (60, 2)))}
    frame = plant((301, 413), targets)
    whole = make_detector(tile=sdk.Tiling()).detect(frame)
    tiled = make_detector(tile=TILING).detect(frame)
    assert len(whole) > 40
    # The toy engine looks at one stride block and one neighbour only, so nothing may differ.
    np.testing.assert_array_equal(tiled.score_map, whole.score_map)
    np.testing.assert_array_equal(tiled.xy, whole.xy)
    assert "tiled" in tiled.flags
    assert "tiled" not in whole.flags


@pytest.mark.parametrize("model", ["pit-n", "pit-s"])
def test_the_default_overlap_is_enough_for_the_shipped_networks(
    model: str, plant: Callable[..., Any]
) -> None:
    overlap = sdk.Tiling().overlap
    tiling = sdk.Tiling(max_pixels=1, side=2 * overlap)
    frame = plant((200, 610), {(90, column): 1 + column % 3 for column in range(20, 600, 37)})
    with sdk.Detector(model) as whole, sdk.Detector(model, tile=tiling) as tiled:
        # The same sums over another width of tile; a pixel that the tile does not see moves it far more.
        np.testing.assert_allclose(
            tiled.detect(frame).score_map, whole.detect(frame).score_map, atol=1e-5, rtol=0
        )


@pytest.mark.parametrize("side", [1, 2, 3, 9])
def test_a_target_on_a_seam_is_found_once(
    make_detector: Callable[..., Any], plant: Callable[..., Any], side: int
) -> None:
    shape = (304, 416)
    rows = [first for _, first, _ in tile_cuts(shape[0], 192, 64)[1:]]
    columns = [first for _, first, _ in tile_cuts(shape[1], 192, 64)[1:]]
    assert rows
    assert len(columns) > 1
    targets = {(row - side // 2, column - side // 2): side for row in rows for column in columns}
    found = make_detector(tile=TILING).detect(plant(shape, targets))
    assert sorted((int(box[1]), int(box[0])) for box in found.xyxy) == sorted(targets)
    assert found.area_px.tolist() == [side * side] * len(targets)


def test_memory_is_bounded_by_the_tile(make_detector: Callable[..., Any], engine: Any) -> None:
    make_detector(tile=TILING).detect(np.zeros((40, 2000), np.uint16))
    assert {shape for shape in engine.shapes} == {(1, 1, 40, 192)}


@pytest.mark.parametrize("values", [{"overlap": 63}, {"side": 383}, {"max_pixels": 0}])
def test_settings_out_of_range_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(sdk.InputError, match=f"Tiling.{next(iter(values))}"):
        sdk.Tiling(**values)
