# SPDX-License-Identifier: Apache-2.0
"""The learned map of bad pixels: what it finds, within how many frames, and what it leaves alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.core.synthetic import CLUTTERS
from pitviper.sdk.thermal import PixelMap

Sequence = Callable[..., NDArray[np.uint16]]
SHAPE = (96, 128)
PLACES = [(40, 60), (0, 0), (95, 127), (50, 1), (70, 100), (71, 100)]


def learned(frames: NDArray[np.uint16], **values: int) -> PixelMap:
    found = PixelMap(SHAPE, **{"samples": 16, "bands": 4, **values})
    for frame in frames:
        found.learn(frame)
    return found


@pytest.mark.parametrize("clutter", CLUTTERS)
@pytest.mark.parametrize("count", [150, -150, 900])
def test_hot_and_cold_pixels_are_found_in_the_stated_frames(
    sequence: Sequence, clutter: str, count: int
) -> None:
    frames = sequence(clutter).astype(np.int32)
    for row, column in PLACES:
        frames[:, row, column] += count
    found = PixelMap(SHAPE, samples=16, bands=4)
    assert found.frames_needed == 64
    for frame in frames[:63].astype(np.uint16):
        found.learn(frame)
    assert not found.dead[-SHAPE[0] // 4 :].any(), "the last band is one look short"
    found.learn(frames[63].astype(np.uint16))
    assert sorted(zip(*map(np.ndarray.tolist, np.nonzero(found.bad)), strict=True)) == sorted(PLACES)


@pytest.mark.parametrize("clutter", CLUTTERS)
def test_clean_scenes_with_targets_have_no_bad_pixel(sequence: Sequence, clutter: str) -> None:
    assert not learned(sequence(clutter, contrast=3.0, noise_counts=1.5)).bad.any()
    assert not learned(sequence(clutter)).bad.any()


def test_a_stuck_pixel_of_an_ordinary_value_is_found(sequence: Sequence) -> None:
    frames = sequence("cloud").copy()
    frames[:, 30, 30] = frames[0, 30, 30]
    found = learned(frames)
    assert found.dead[30, 30]
    assert found.bad.sum() == 1


def test_a_flickering_pixel_is_told_from_a_dead_one(sequence: Sequence) -> None:
    frames = sequence("sky").copy()
    on = np.random.default_rng(0).random(len(frames)) < 0.55
    frames[on, 30, 30] += 400
    found = learned(frames)
    assert found.flickering[30, 30]
    assert not found.dead.any()
    assert found.bad.sum() == 1


def test_a_still_point_source_behind_optics_is_no_bad_pixel(sequence: Sequence) -> None:
    frames = sequence("sky").copy()
    spread = np.array([[0.1, 0.3, 0.1], [0.3, 1.0, 0.3], [0.1, 0.3, 0.1]])
    frames[:, 40:43, 60:63] += (600 * spread).astype(np.uint16)
    assert not learned(frames).bad.any()


def test_the_map_follows_what_changes(sequence: Sequence) -> None:
    frames = sequence("cloud").copy()
    frames[:, 30, 30] += 500
    found = learned(frames)
    assert found.dead[30, 30]
    for _ in range(3):
        for frame in sequence("cloud"):
            found.learn(frame)
    assert not found.bad.any()


def test_still_pictures_of_few_levels_prove_no_dead_pixel(sequence: Sequence) -> None:
    frame = (sequence("cloud")[0] >> 6).astype(np.uint8)
    noisy = np.random.default_rng(0).random((72, *SHAPE)) < 0.2
    frames = (frame + noisy).astype(np.uint8)
    found = PixelMap(SHAPE, samples=16, bands=4)
    for each in frames:
        found.learn(each)
    assert not found.dead.any()


def test_arguments_out_of_range_are_refused() -> None:
    for values in ({"samples": 7}, {"samples": 101}, {"bands": 0}, {"bands": 97}):
        with pytest.raises(sdk.InputError):
            PixelMap(SHAPE, **values)
