# SPDX-License-Identifier: Apache-2.0
"""Initial masks from points: the specification's table, deep pixels, dark targets, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from pitviper.core.datasets import DatasetError
from pitviper.train.points.edges import canny, close, high_pass, outline_area, outline_around
from pitviper.train.points.initial import easy_mask, initial_mask

CENTRE = np.array([[30, 30]], np.int32)


def square(side: int) -> NDArray[np.uint8]:
    frame = np.full((64, 64), 40, np.uint8)
    top = 30 - side // 2
    frame[top : top + side, top : top + side] += 100
    return frame


def gaussian(sigma: float, amplitude: float, *, row: int = 30, column: int = 30) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:64, :64]
    light = amplitude * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2))
    result: NDArray[np.uint8] = np.rint(50 + light).astype(np.uint8)
    return result


TABLE = [
    (square(5), True, 45),
    (square(1), True, 9),
    (square(2), False, 0),
    (square(10), False, 0),
    (gaussian(1.2, 30), False, 0),
    (gaussian(1.2, 40), True, 9),
    (gaussian(1.2, 180), True, 9),
    (gaussian(1.8, 80), True, 9),
    (gaussian(1.8, 120), True, 21),
    (gaussian(2.5, 180), True, 21),
    (gaussian(3.5, 60), False, 0),
    (gaussian(3.5, 120), False, 0),
    (gaussian(3.5, 180), False, 0),
]


@pytest.mark.parametrize(("frame", "accepted", "area"), TABLE)
def test_the_table_of_the_specification(frame: NDArray[np.uint8], accepted: bool, area: int) -> None:
    found = initial_mask(frame, CENTRE)
    assert found.accepted.tolist() == [accepted]
    assert found.mask.sum() == area
    assert found.mask.dtype == np.bool_


@pytest.mark.parametrize(("frame", "accepted", "area"), TABLE)
def test_dark_targets_are_bright_ones_of_the_negative(
    frame: NDArray[np.uint8], accepted: bool, area: int
) -> None:
    negative = 255 - frame
    assert initial_mask(negative, CENTRE, polarity="dark").mask.sum() == area
    for either in (frame, negative):
        assert initial_mask(either, CENTRE, polarity="both").mask.sum() == area


def test_a_patch_at_the_border_is_cut_off() -> None:
    for row, column in ((1, 1), (1, 62), (62, 1), (62, 62)):
        frame = gaussian(1.2, 100, row=row, column=column)
        found = initial_mask(frame, np.array([[row, column]], np.int32))
        assert found.accepted.all()
        assert found.mask[row, column]
        assert np.abs(np.argwhere(found.mask) - (row, column)).max() <= 2


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (11, 9000)])
def test_deep_pixels_do_not_depend_on_gain_and_offset(dtype: type, gain: int, offset: int) -> None:
    """A weak target of 14-bit counts, 15 deviations above its noise, on a ramp and 4000 counts of background."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64]
    noise = np.rint(rng.normal(0, 8, (64, 64)))
    target = 120 * np.exp(-((rows - 30) ** 2 + (columns - 30) ** 2) / 2)
    scene = (4000 + np.rint(target) + noise + rows // 4).astype(np.int64)
    points = np.array([[30, 30], [50, 50]], np.int32)
    found = initial_mask((scene * gain + offset).astype(dtype), points)
    assert found.accepted.tolist() == [True, False], "the target, and not the noise"
    assert 5 <= found.mask.sum() <= 30
    reference = initial_mask(scene.astype(np.uint16), points)
    assert np.array_equal(found.mask, reference.mask)


def test_deep_pixels_without_noise() -> None:
    for frame, accepted, area in TABLE[:4]:
        found = initial_mask(frame.astype(np.uint16) * 37 + 5000, CENTRE)
        assert (bool(found.accepted[0]), found.mask.sum()) == (accepted, area)
    flat = initial_mask(np.full((64, 64), 7, np.uint16), CENTRE)
    assert not flat.accepted.any()


def test_a_hot_pixel_beside_it_does_not_hide_a_target() -> None:
    rng = np.random.default_rng(1)
    frame = gaussian(1.2, 100).astype(np.float32) + rng.normal(0, 1, (64, 64)).astype(np.float32)
    frame[24, 36] = 60000.0
    assert initial_mask(frame, CENTRE).accepted.all()


def test_one_outline_for_two_points() -> None:
    found = initial_mask(square(5), np.array([[30, 30], [31, 31]], np.int32))
    assert found.accepted.tolist() == [True, True]
    assert found.mask.sum() == 45


def test_easy_frames() -> None:
    frame = gaussian(1.2, 100)
    points = np.array([[30, 30], [10, 10]], np.int32)
    found = initial_mask(frame, points)
    assert found.share == 0.5
    assert easy_mask(found, points) is None
    assert easy_mask(found, points, least_share=0.5) is not None
    every = easy_mask(found, points, least_share=-1.0)
    assert every is not None
    assert every.sum() == 10, "an outline of 9, and the other point as a single pixel"
    assert every[10, 10]
    none = np.zeros((0, 2), np.int32)
    empty = easy_mask(initial_mask(frame, none), none)
    assert empty is not None
    assert not empty.any(), "a frame without points is easy, and has no target"


def test_refusals() -> None:
    frame = square(5)
    with pytest.raises(
        DatasetError, match=r"a/b: the point at row 30, column 64 is outside the frame of 64x64"
    ):
        initial_mask(frame, np.array([[30, 64]], np.int32), name="a/b")
    with pytest.raises(DatasetError, match="outside"):
        initial_mask(frame, np.array([[-1, 3]], np.int32))
    with pytest.raises(DatasetError, match="2 points at row 30, column 30"):
        initial_mask(frame, np.array([[30, 30], [30, 30]], np.int32))
    with pytest.raises(ValueError, match="bright, dark, both, got 'cold'"):
        initial_mask(frame, CENTRE, polarity="cold")
    broken = frame.astype(np.float32)
    broken[28, 28] = np.nan
    with pytest.raises(DatasetError, match="not finite"):
        initial_mask(broken, CENTRE)


def test_the_outline_is_filled_and_only_around_the_point() -> None:
    ring = np.zeros((12, 12), np.bool_)
    ring[2:7, 2:7] = True
    ring[3:6, 3:6] = False
    ring[9:11, 9:11] = True
    outline = outline_around(ring, 4, 4)
    assert outline is not None
    assert outline.sum() == 25
    assert outline_around(ring, 8, 4) is None


@pytest.mark.parametrize("seed", range(3))
def test_area_is_that_of_the_polygon(seed: int) -> None:
    """Against Pick's theorem on blobs: inner pixels + half of the outline's points - 1."""
    rng = np.random.default_rng(seed)
    blob = ndimage.gaussian_filter(rng.normal(size=(24, 24)), 4) > 0
    labels, _ = ndimage.label(ndimage.binary_opening(blob, np.ones((3, 3))))
    blob = ndimage.binary_fill_holes(labels == np.bincount(labels.ravel())[1:].argmax() + 1)
    inner = ndimage.binary_erosion(blob)
    assert outline_area(blob) == inner.sum() + (blob & ~inner).sum() / 2 - 1
    assert outline_area(np.ones((5, 5), np.bool_)) == 16
    assert outline_area(np.ones((1, 5), np.bool_)) == 0


def test_the_high_pass_by_hand() -> None:
    patch = np.zeros((5, 5), np.uint8)
    patch[2, 2] = 100
    assert high_pass(patch)[2, 2] == 75
    assert high_pass(patch).sum() == 75, "what would be negative is cut off"
    corner = np.zeros((5, 5), np.uint8)
    corner[0, 0] = 100
    assert high_pass(corner)[0, 0] == 75, "reflected without repeating the border"


def test_edges_by_hand() -> None:
    step = np.zeros((8, 12), np.uint8)
    step[:, 6:] = 50
    edges = canny(step, 20, 40)
    assert edges.sum(axis=1).tolist() == [1] * 8, "one pixel wide, to the border"
    assert not canny(step, 20, 200).any(), "|dx| is 4 times 50"
    gap = np.zeros((9, 9), np.bool_)
    gap[4, [1, 2, 4, 5]] = True
    assert close(gap)[4, 3]
    assert close(np.ones((4, 4), np.bool_)).all(), "the border is no background"
