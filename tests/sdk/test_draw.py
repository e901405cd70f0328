# SPDX-License-Identifier: Apache-2.0
"""Pictures for human eyes: targets stay uncovered, the tone follows slowly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pitviper import sdk
from pitviper.sdk import Detections
from pitviper.sdk.draw import ToneMap, annotate
from pitviper.sdk.sources import Frame, FrameTime
from pitviper.sdk.tracking import Track
from pitviper.sdk.trails import track_colour

SHAPE = (120, 160)


def result(boxes: list[tuple[float, float, float, float]], score: float = 0.9) -> Detections:
    count = len(boxes)
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(
        xy=(xyxy[:, :2] + xyxy[:, 2:]) / 2,
        xyxy=xyxy,
        score=np.full(count, score),
        mean=np.full(count, score),
        area_px=np.ones(count),
        snr=np.full(count, 12.0),
        shape=SHAPE,
    )


def frame(image: np.ndarray[Any, Any]) -> Frame:
    return Frame(image, 7, FrameTime(280_000_000, 1, 2))


def flat(level: int = 100) -> np.ndarray[Any, Any]:
    return np.full(SHAPE, level, np.uint8)


def test_arrays_and_paths_are_drawn_like_frames(tmp_path: Path) -> None:
    found = result([(60, 40, 63, 43)])
    Image.fromarray(flat()).save(tmp_path / "flat.png")
    height = 2 * SHAPE[0]
    drawn = annotate(frame(flat()), found, scale=2)
    for given in (flat(), flat()[..., None], tmp_path / "flat.png"):
        assert np.array_equal(annotate(given, found, scale=2)[:height], drawn[:height])
    with pytest.raises(
        sdk.InputError, match=r"the frame is \(64, 64\) \(H, W\), and the result is of one of"
    ):
        annotate(np.zeros((64, 64), np.uint8), found)


def test_marks_grow_with_a_picture_that_is_shown_smaller() -> None:
    marked = []
    for side in (640, 1920):
        one = replace(result([(300, 300, 302, 302)]), shape=(600, side))
        picture = annotate(np.full((600, side), 100, np.uint8), one)[:600]
        rows = np.flatnonzero((picture[:, 250:350] == (120, 255, 90)).all(axis=2).any(axis=1))
        marked.append(int(np.ptp(rows[rows > 290])) if side == 640 else int(np.ptp(rows[rows > 280])))
    assert marked[1] >= 2 * marked[0]


@pytest.mark.parametrize("side", [1, 2, 3, 9])
@pytest.mark.parametrize("place", [(40, 60), (0, 0), (118, 30), (60, 157)])
def test_marks_surround_the_target_and_leave_it_uncovered(side: int, place: tuple[int, int]) -> None:
    row, column = place
    bottom, right = min(row + side, SHAPE[0]), min(column + side, SHAPE[1])
    picture = annotate(frame(flat()), result([(column, row, right, bottom)]), scale=2)
    # The target and two pixels around it, in the enlarged picture.
    window = picture[2 * max(row - 2, 0) : 2 * min(bottom + 2, 120), 2 * max(column - 2, 0) : 2 * (right + 2)]
    assert (window == 100).all()
    near = picture[max(2 * row - 30, 0) : 2 * bottom + 30, max(2 * column - 30, 0) : 2 * right + 30]
    marks = (near[..., 1] > 200) & (near[..., 0] < 180)
    assert marks.sum() > 20, "the brackets are there"


def test_label_and_status_are_drawn_and_cover_no_other_target() -> None:
    alone = annotate(frame(flat()), result([(60, 40, 63, 43)]), scale=2)
    # A second target exactly where the label of the first one would stand.
    crowded = annotate(frame(flat()), result([(60, 40, 63, 43), (62, 29, 65, 32)]), scale=2)
    label_rows = slice(2 * 22, 2 * 36)
    assert (alone[label_rows, 100:200] != 100).any()
    assert (crowded[2 * 27 : 2 * 34, 2 * 60 : 2 * 67] == 100).all()
    assert alone.shape[0] > 240
    assert alone.shape[1:] == (320, 3)
    assert (alone[240:] > 150).any(), "the line below the picture has text"
    assert np.array_equal(annotate(frame(flat()), result([]), scale=2)[:240], np.full((240, 320, 3), 100))


@pytest.mark.parametrize("corner", [(0, 0), (0, 158), (118, 0), (118, 158)])
def test_a_target_in_a_corner_has_its_label(corner: tuple[int, int]) -> None:
    row, column = corner
    picture = annotate(frame(flat()), result([(column, row, column + 2, row + 2)]), scale=2)[:240].copy()
    # Farther from the target than its brackets reach.
    picture[max(2 * row - 26, 0) : 2 * row + 30, max(2 * column - 26, 0) : 2 * column + 30] = 100
    assert (picture != 100).any()


def test_small_frames_are_enlarged_by_whole_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 255, (48, 64)).astype(np.uint8)
    found = Detections.empty((48, 64))
    picture = annotate(frame(image), found)
    assert picture.shape[1] == 640
    assert np.array_equal(picture[:480:10, ::10, 0], image)


def test_many_targets_are_all_marked() -> None:
    boxes = [(x, y, x + 1, y + 1) for y in range(10, 110, 20) for x in range(10, 150, 14)]
    picture = annotate(frame(flat()), result(boxes), scale=2)
    for x, y, _, _ in boxes:
        assert (picture[2 * y : 2 * y + 2, 2 * x : 2 * x + 2] == 100).all()


def test_eight_bits_pass_and_counts_use_the_range() -> None:
    assert np.array_equal(ToneMap()(flat(17)), flat(17))
    counts = np.random.default_rng(1).normal(7000, 20, SHAPE).astype(np.uint16)
    counts[50, 50] = 16000
    shown = ToneMap()(counts)
    assert shown.dtype == np.uint8
    assert shown[50, 50] == 255
    assert 30 < np.median(shown) < 200, "one hot pixel does not darken the rest"
    assert shown.std() > 15


def test_tone_follows_slowly_and_jumps_at_a_cut() -> None:
    rng = np.random.default_rng(2)
    tone, base = ToneMap(), rng.normal(7000, 50, SHAPE)
    before = tone(base.astype(np.float32)).mean()
    shifted = tone((base + 30).astype(np.float32)).mean()
    assert shifted > before + 5, "a small drift is followed slowly, so the picture brightens first"
    after_cut = tone((base + 5000).astype(np.float32)).mean()
    assert abs(after_cut - before) < 10


def test_constant_and_odd_frames_do_not_fail() -> None:
    assert ToneMap()(np.full(SHAPE, 5000, np.uint16)).dtype == np.uint8
    holes = np.ones(SHAPE, np.float32)
    holes[3, 3], holes[4, 4] = np.nan, np.inf
    shown = ToneMap()(holes)
    assert shown[3, 3] == shown[4, 4] == 0
    assert ToneMap()(np.full(SHAPE, np.nan, np.float32)).max() == 0


@pytest.mark.parametrize("place", [(80, 60), (158, 60), (158, 118), (2, 118), (1, 1)])
def test_the_number_of_a_coasting_track_is_whole_at_every_border(place: tuple[float, float]) -> None:
    x, y = place
    track = Track(188, "coasting", x, y, 0.0, 0.0, 0.5, 1.0, 0.2, hits=9)
    picture = annotate(frame(flat()), replace(result([]), tracks=(track,)), scale=4)
    middle = annotate(frame(flat()), replace(result([]), tracks=(replace(track, x=80.0, y=60.0),)), scale=4)

    def coloured(shown: np.ndarray[Any, Any], middle: tuple[float, float]) -> int:
        """Pixels of the track's colour outside of its diamond and of the line below the picture."""
        rows, columns = np.indices(shown.shape[:2])
        diamond = np.abs(columns - 4 * middle[0]) + np.abs(rows - 4 * middle[1]) < 25
        return int(((shown == track_colour(188)).all(-1) & ~diamond & (rows < 4 * SHAPE[0])).sum())

    assert coloured(picture, place) == coloured(middle, (80.0, 60.0)) > 10
