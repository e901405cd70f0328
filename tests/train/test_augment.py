# SPDX-License-Identifier: Apache-2.0
"""No warp loses a target or moves it off its mask; equal seeds give equal crops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from pitviper.train.data.augment import AugmentConfig, augment, photometric, warp

EIGHT = np.ones((3, 3), np.int8)
GEOMETRY_ONLY = AugmentConfig(warp=1.0, photometric=0.0)
SHAPES = {1: (1, 1), 2: (1, 2), 9: (3, 3), 80: (8, 10)}
Matrix = NDArray[np.float64]


def planted(
    pixels: int, row: int, column: int, side: int = 96
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A target of 10 on a ground of 0 with its exact mask."""
    height, width = SHAPES[pixels]
    mask = np.zeros((side, side), np.bool_)
    mask[row : row + height, column : column + width] = True
    return mask.astype(np.float32) * 10, mask


def turned(degrees: float, scale: float, shift: tuple[float, float], side: int = 96) -> tuple[Matrix, Matrix]:
    angle = np.deg2rad(degrees)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    centre = np.full(2, (side - 1) / 2)
    return matrix, centre - matrix @ (centre + np.array(shift))


warps = st.builds(
    turned,
    st.floats(-45, 45),
    st.floats(0.8, 1.2),
    st.tuples(st.floats(-9.6, 9.6), st.floats(-9.6, 9.6)),
)
places = st.integers(0, 86)


@settings(max_examples=150, deadline=None)
@given(pixels=st.sampled_from(sorted(SHAPES)), row=places, column=places, matrix=warps)
def test_a_target_that_stays_inside_survives(
    pixels: int, row: int, column: int, matrix: tuple[Matrix, Matrix]
) -> None:
    image, mask = planted(pixels, row, column)
    warped, moved = warp(image, mask, *matrix)
    centre = np.linalg.inv(matrix[0]) @ (np.array(ndimage.center_of_mass(mask)) - matrix[1])
    if not ((centre >= 0) & (centre <= 95)).all():
        return
    # Within this window it is the target itself; beyond, mirrored borders may show it again.
    reach = 1.2 * np.hypot(*SHAPES[pixels]) / 2 + 1
    rows, columns = np.indices(moved.shape)
    window = np.hypot(rows - centre[0], columns - centre[1]) <= reach
    assert (moved & window).any()
    peak = np.unravel_index(np.where(window, warped, -1).argmax(), warped.shape)
    assert ndimage.binary_dilation(moved, EIGHT)[peak], (
        "on the mask, or beside it where interpolation split it"
    )


@pytest.mark.parametrize("gap", [2, 3])
def test_neighbours_do_not_swallow_each_other(gap: int) -> None:
    """Two single pixels close together: shrinking may join them, but never takes the mass of one."""
    mask = np.zeros((64, 64), np.bool_)
    mask[30, 30] = mask[30, 30 + gap] = True
    for shift in np.linspace(0, 1, 11):
        matrix, offset = turned(17, 0.8, (shift, shift / 2), 64)
        _, moved = warp(mask.astype(np.float32), mask, matrix, offset)
        assert 2 <= moved.sum() <= 4


def test_many_single_pixels_all_survive() -> None:
    mask = np.zeros((96, 96), np.bool_)
    mask[16:80:8, 16:80:8] = True
    count = int(mask.sum())
    for degrees, scale in ((0, 0.8), (31, 0.8), (45, 0.83), (-12, 0.95), (20, 1.2)):
        _, moved = warp(mask.astype(np.float32), mask, *turned(degrees, scale, (0.3, 0.6)))
        assert ndimage.label(moved[5:-5, 5:-5], EIGHT)[1] >= count - (0 if scale < 1 else 12)


@pytest.mark.parametrize("hole", [3, 9])
def test_a_ring_gets_no_pixel_in_its_middle(hole: int) -> None:
    mask = np.zeros((64, 64), np.bool_)
    mask[20 : 24 + hole, 20 : 24 + hole] = True
    mask[22 : 22 + hole, 22 : 22 + hole] = False
    _, moved = warp(mask.astype(np.float32), mask, *turned(20, 1.1, (0, 0), 64))
    assert ndimage.label(moved)[1] == 1


@pytest.mark.parametrize("pixels", sorted(SHAPES))
def test_image_and_mask_stay_aligned(pixels: int) -> None:
    for seed in range(40):
        image, mask = planted(pixels, 40, 44)
        out, moved = augment(image, mask, GEOMETRY_ONLY, np.random.default_rng(seed))
        peak = np.unravel_index(out.argmax(), out.shape)
        assert ndimage.binary_dilation(moved, EIGHT)[peak], seed
        lit = ndimage.binary_dilation(out > 1, EIGHT)
        assert not (moved & ~lit).any(), "no part of the mask lies on bare ground"


def test_flips_and_turns_move_image_and_mask_as_one() -> None:
    config = AugmentConfig(warp=0.0, photometric=0.0)
    image = np.arange(64, dtype=np.float32).reshape(8, 8)
    mask = image > 59
    seen = set()
    for seed in range(60):
        out, moved = augment(image, mask, config, np.random.default_rng(seed))
        assert np.array_equal(moved, out > 59)
        seen.add(out.tobytes())
    assert len(seen) == 8, "all eight symmetries of the square come up, and nothing else"


def test_equal_seeds_reproduce_and_others_differ() -> None:
    image, mask = planted(9, 30, 30)
    config = AugmentConfig(warp=1.0, photometric=1.0)
    first, second, other = (augment(image, mask, config, np.random.default_rng(seed)) for seed in (7, 7, 8))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


def test_results_are_contiguous_float32_and_bool_and_the_input_is_untouched() -> None:
    image, mask = planted(2, 30, 30)
    kept = image.copy(), mask.copy()
    for seed in range(8):
        out, moved = augment(image, mask, AugmentConfig(1.0, photometric=1.0), np.random.default_rng(seed))
        assert (out.dtype, moved.dtype) == (np.float32, np.bool_)
        assert out.flags.c_contiguous
        assert moved.flags.c_contiguous
    assert np.array_equal(image, kept[0])
    assert np.array_equal(mask, kept[1])


@pytest.mark.parametrize("effect", ["gain", "offset", "noise", "pattern", "shading"])
def test_each_sensor_effect_alone(effect: str) -> None:
    nothing = {"gain": 0.0, "offset": 0.0, "noise": 0.0, "pattern": 0.0, "shading": 0.0}
    config = AugmentConfig(photometric=1.0, **(nothing | {effect: 0.4}))
    image = np.random.default_rng(0).normal(size=(48, 48)).astype(np.float32)
    change = photometric(image, config, np.random.default_rng(3)) - image
    assert np.abs(change).max() > 1e-3
    if effect == "gain":
        assert np.allclose(change / image, (change / image)[0, 0], rtol=1e-3)
    elif effect == "offset":
        assert np.ptp(change) < 1e-5
    elif effect == "pattern":
        # Rank two: one vector along rows plus one along columns.
        assert np.abs(change - change[:1] - change[:, :1] + change[0, 0]).max() < 1e-5
    elif effect == "shading":
        assert np.abs(np.diff(change, 3, axis=0)).max() < 1e-4
    same = photometric(image, AugmentConfig(photometric=1.0, **nothing), np.random.default_rng(3))
    assert np.allclose(same, image)


def test_soft_labels_move_as_masks_and_keep_their_values() -> None:
    config = AugmentConfig(warp=1.0, photometric=0.0)
    for seed in range(20):
        image, mask = planted(1 if seed % 2 else 9, 40, 44)
        soft = np.where(mask, np.float16(0.75), np.float16(0.25))
        _, hard = augment(image, mask, config, np.random.default_rng(seed))
        _, moved = augment(image, soft, config, np.random.default_rng(seed))
        assert moved.dtype == np.float16
        assert np.array_equal(moved > 0.5, hard)
        assert np.array_equal(np.unique(moved), np.array([0.25, 0.75], np.float16))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_upright_crops_keep_what_lies_up_and_left(seed: int) -> None:
    """Light at one pixel and its mask one up and one left of it: after a turn or mirror it would lie elsewhere."""
    image, mask = planted(1, 50, 40)
    mask = np.roll(mask, (-1, -1), (0, 1))
    config = AugmentConfig(warp=0.0, photometric=0.0)
    light, label = augment(image, mask, config, np.random.default_rng(seed), upright=True)
    (lit,), (labelled,) = np.argwhere(light > 5), np.argwhere(label)
    assert (labelled - lit).tolist() == [-1, -1]
    assert lit.tolist() in ([50, 40], [40, 50]), "nothing but rows and columns may change places"


def test_upright_warps_do_not_turn() -> None:
    """A bar of 3x21 pixels stays along its rows, or along columns where the two changed places."""
    image = np.zeros((96, 96), np.float32)
    image[47:50, 38:59] = 10
    config = AugmentConfig(warp=1.0, photometric=0.0, rotate_deg=45.0)
    for seed in range(20):
        _, label = augment(image, image > 5, config, np.random.default_rng(seed), upright=True)
        height, width = np.ptp(np.argwhere(label), axis=0) + 1
        assert min(height, width) <= 4
        assert max(height, width) > 14


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"photometric": 5.0}, "augmentation.photometric must be at least 0 and at most 1, got 5"),
        ({"gain": 3.0}, "augmentation.gain must be at least 0 and at most 1"),
        ({"noise": -0.1}, "augmentation.noise must be at least 0, got -0.1"),
        ({"scale": 1.0}, "augmentation.scale must be below 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AugmentConfig(**settings)
