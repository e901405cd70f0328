# SPDX-License-Identifier: Apache-2.0
"""Classes of planted targets; neither gain, offset and sign of a frame nor turning it changes them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper.core.metrics import CLASSES, Characteristics, characterise

SHAPE = (96, 112)
Frame = NDArray[np.float64]
Mask = NDArray[np.bool_]


def scene(seed: int = 0, *, noise: float = 4.0) -> Frame:
    """A sky with a gradient, noise, and nothing else."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return 900.0 + 0.8 * rows - 0.5 * columns + np.random.default_rng(seed).normal(0.0, noise, SHAPE)


def put(frame: Frame, top: int, left: int, height: int, width: int, *, light: float) -> Mask:
    """Add light to a box, and return its mask."""
    mask = np.zeros(SHAPE, np.bool_)
    mask[top : top + height, left : left + width] = True
    frame[mask] += light
    return mask


def only(frame: Frame, mask: Mask) -> Characteristics:
    (found,) = characterise(frame, mask)
    return found


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 2), (3, 3), (8, 10)])
def test_a_bright_spot_in_a_clear_sky_is_salient(height: int, width: int) -> None:
    frame = scene()
    found = only(frame, put(frame, 40, 50, height, width, light=160.0))
    assert found.name == "salient"
    assert found.snr == pytest.approx(40.0, rel=0.25), "160 of light in noise of 4, whatever the gradient"
    assert found.clutter == 0.0


def test_a_long_one_is_filamentary_whatever_else_it_is() -> None:
    frame = scene()
    found = only(frame, put(frame, 40, 40, 2, 14, light=3.0))
    assert (found.name, found.elongation, found.length) == (
        "filamentary",
        pytest.approx(7.0),
        pytest.approx(14.0),
    )
    assert found.snr < 5.0
    diagonal = np.zeros(SHAPE, np.bool_)
    diagonal[np.arange(30, 42), np.arange(50, 62)] = True
    assert only(scene(), diagonal).name == "filamentary"
    short = scene()
    assert only(short, put(short, 40, 40, 1, 4, light=160.0)).name == "salient", "four pixels are no filament"


def test_among_others_of_its_kind_it_is_camouflaged() -> None:
    frame = scene()
    for top in range(8, 90, 9):
        for left in range(8, 106, 9):
            put(frame, top, left, 3, 3, light=120.0)
    mask = np.zeros(SHAPE, np.bool_)
    mask[44:47, 53:56] = True
    found = only(frame, mask)
    assert found.name == "camouflaged"
    assert found.snr > 20.0
    assert characterise(frame, mask)[0].clutter > 0.02


def test_dim_in_noise_and_dim_beside_bright_ground_are_faint() -> None:
    frame = scene(noise=10.0)
    found = only(frame, put(frame, 40, 50, 3, 3, light=35.0))
    assert (found.name, found.clutter) == ("faint", pytest.approx(0.0, abs=0.02))
    assert found.snr < 5.0
    ground = scene(noise=1.0)
    ground += 400.0 / (1.0 + np.exp((66.0 - np.mgrid[: SHAPE[0], : SHAPE[1]][0]) / 4.0))
    found = only(ground, put(ground, 40, 50, 3, 3, light=60.0))
    assert found.name == "faint"
    assert found.snr > 20.0
    assert found.prominence < 0.3


@pytest.mark.parametrize("seed", range(4))
def test_gain_offset_and_sign_do_not_matter(seed: int) -> None:
    frame, masks = scenery(seed)
    before = characterise(frame, masks)
    assert {each.name for each in before} <= set(CLASSES)
    for gain, offset in ((40.0, 3000.0), (0.01, -7.0), (-3.0, 0.0), (1e-4, 1e3)):
        after = characterise(gain * frame + offset, masks)
        assert [each.name for each in after] == [each.name for each in before]
        # A frame of values near 1000 and gain 1e-4 keeps about nine digits of its contrast.
        for name in ("snr", "prominence", "elongation", "length", "clutter"):
            np.testing.assert_allclose(
                [getattr(each, name) for each in after], [getattr(each, name) for each in before], rtol=1e-6
            )


@pytest.mark.parametrize("seed", range(4))
def test_turned_and_mirrored_frames_have_the_same_targets(seed: int) -> None:
    frame, masks = scenery(seed)
    before = sorted(as_row(each) for each in characterise(frame, masks))
    for turn in (np.flipud, np.fliplr, np.transpose, np.rot90):
        after = sorted(as_row(each) for each in characterise(turn(frame), turn(masks)))  # type: ignore[operator]
        np.testing.assert_allclose(after, before, rtol=1e-6)


def test_small_frames_edges_and_types() -> None:
    frame = np.full((5, 4), 7, np.uint16)
    assert characterise(frame, np.zeros((5, 4), np.bool_)) == []
    assert only_name(frame, np.ones((5, 4), np.bool_)) == "faint", "nothing is around it"
    corner = np.zeros((5, 4), np.bool_)
    corner[0, 0] = True
    assert only_name(frame, corner) == "camouflaged", "as bright as everything else"
    lit = frame.copy()
    lit[0, 0] = 8
    assert only_name(lit, corner) == "salient", "no noise at all"
    with pytest.raises(ValueError, match=r"frame \(5, 4\) and truth \(4, 5\)"):
        characterise(frame, np.zeros((4, 5), np.bool_))


def only_name(frame: NDArray[np.generic], mask: Mask) -> str:
    (found,) = characterise(frame, mask)
    return found.name


def scenery(seed: int) -> tuple[Frame, Mask]:
    """Targets of several kinds, also at borders and beside each other, over structured ground."""
    rng = np.random.default_rng(seed)
    frame = scene(seed)
    for _ in range(12):
        put(frame, *rng.integers(0, 90, 2), *rng.integers(1, 9, 2), light=float(rng.uniform(20, 200)))
    masks = np.zeros(SHAPE, np.bool_)
    for top, left, height, width in (
        (0, 3, 1, 1),
        (20, 20, 1, 12),
        (24, 24, 3, 3),
        (60, 100, 8, 10),
        (90, 40, 2, 2),
    ):
        masks |= put(frame, top, left, height, width, light=float(rng.uniform(-150, 150)))
    return frame, masks


def as_row(each: Characteristics) -> tuple[float, ...]:
    return each.length, each.elongation, each.snr, each.prominence, each.clutter
