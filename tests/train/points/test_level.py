# SPDX-License-Identifier: Apache-2.0
"""Outlines by level sets: the width of a blurred point, invariances, and what has no outline."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper.train.points.initial import initial_mask
from pitviper.train.points.level import LARGEST_AREA, level_outline

CENTRE = np.array([[30, 30]], np.int32)


def gaussian(sigma: float, *, amplitude: float = 100.0) -> NDArray[np.float64]:
    rows, columns = np.mgrid[:64, :64]
    light: NDArray[np.float64] = amplitude * np.exp(
        -((rows - 30) ** 2 + (columns - 30) ** 2) / (2 * sigma**2)
    )
    return light + 50


@pytest.mark.parametrize("sigma", [0.6, 1.2, 2.0])
def test_a_blurred_point_has_its_width_at_two_fifths_of_the_height(sigma: float) -> None:
    rows, columns = np.mgrid[:64, :64]
    radius = sigma * np.sqrt(-2 * np.log(0.4))
    inside = np.hypot(rows - 30, columns - 30) <= radius - 0.05
    outside = np.hypot(rows - 30, columns - 30) > radius + 0.05
    found = initial_mask(gaussian(sigma), CENTRE, outline="level").mask
    assert found[inside].all()
    assert not found[outside].any()


@pytest.mark.parametrize("gain_and_offset", [(1.0, 0.0), (37.5, -1000.0), (0.001, 4.0)])
def test_gain_and_offset_change_nothing(gain_and_offset: tuple[float, float]) -> None:
    noise = np.random.default_rng(3).normal(0, 4, (64, 64))
    frame = gaussian(1.5) + noise
    gain, offset = gain_and_offset
    expected = initial_mask(frame, CENTRE, outline="level").mask
    assert expected.any()
    assert (initial_mask(gain * frame + offset, CENTRE, outline="level").mask == expected).all()
    assert (
        initial_mask(-gain * frame + offset, CENTRE, outline="level", polarity="dark").mask == expected
    ).all()


def test_flips_flip_the_outline() -> None:
    patch = gaussian(1.5)[20:41, 20:41] + np.random.default_rng(4).normal(0, 4, (21, 21))
    expected = level_outline(patch, 10, 10)
    flipped = level_outline(patch[::-1, ::-1], 10, 10)
    assert expected is not None
    assert flipped is not None
    assert (flipped[::-1, ::-1] == expected).all()


def test_the_level_rises_until_the_outline_is_small() -> None:
    """A target on a bright band: its outline at two fifths and at half of the height runs along the band."""
    patch = np.full((21, 21), 10.0)
    patch[:, 8:13] = 55.0
    patch[9:12, 9:12] = 100.0
    assert (patch >= 10 + 0.5 * 90).sum() > LARGEST_AREA
    found = level_outline(patch, 10, 10)
    assert found is not None
    assert (found == (patch == 100.0)).all()


@pytest.mark.parametrize("value", [0.0, -5.0])
def test_what_does_not_stand_out_has_no_outline(value: float) -> None:
    patch = np.zeros((21, 21))
    patch[9:12, 9:12] = value
    assert level_outline(patch, 10, 10) is None


def test_everything_too_large_has_no_outline() -> None:
    patch = np.zeros((21, 21))
    patch[5:16, 5:16] = 80.0
    assert level_outline(patch, 10, 10) is None


def test_a_point_at_the_corner_of_its_frame() -> None:
    frame = np.full((40, 40), 20, np.uint16)
    frame[:2, :2] = 500
    found = initial_mask(frame, np.array([[0, 0]], np.int32), outline="level")
    assert np.argwhere(found.mask).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]


def test_an_unknown_outline_is_refused() -> None:
    with pytest.raises(ValueError, match="outline must be one of edges, level, got 'canny'"):
        initial_mask(np.zeros((9, 9), np.uint8), np.array([[4, 4]]), outline="canny")
