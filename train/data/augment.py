# SPDX-License-Identifier: Apache-2.0
"""Augmentation of one crop: geometry that keeps every target, and what a thermal sensor does to its picture.

Images are standardised (gain and offset are already removed), so photometric steps work in units of the frame's
high-pass residual. Geometry follows the list of Yu et al., "PAL" (ICCV 2025), written anew for float data.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Image = NDArray[np.float32]
Mask = NDArray[Any]
_EIGHT = np.ones((3, 3), np.int8)


@dataclass(frozen=True)
class AugmentConfig:
    """Probabilities and ranges of the augmentation; every range is symmetric around no change.

    Attributes:
        warp: Probability of one rotation + scale + shift.
        rotate_deg: Largest rotation.
        scale: Largest relative change of size.
        shift: Largest shift as a share of the side.
        photometric: Probability of each of the steps below.
        gain: Largest relative change of contrast; stands in for other statistics than the frame's own.
        offset: Largest additive change.
        noise: Largest standard deviation of white noise.
        pattern: Largest standard deviation of column and row (fixed-pattern) noise.
        shading: Largest amplitude of a smooth non-uniformity over the crop.
    """

    warp: float = 0.35
    rotate_deg: float = 45.0
    scale: float = 0.2
    shift: float = 0.1
    photometric: float = 0.25
    gain: float = 0.3
    offset: float = 0.5
    noise: float = 0.3
    pattern: float = 0.15
    shading: float = 0.5

    def __post_init__(self) -> None:
        limits = {"warp": 1.0, "photometric": 1.0, "rotate_deg": 180.0, "shift": 1.0, "gain": 1.0}
        for each in fields(self):
            value, limit = getattr(self, each.name), limits.get(each.name, np.inf)
            if not 0.0 <= value <= limit:
                upper = f" and at most {limit:g}" if limit < np.inf else ""
                raise ValueError(f"augmentation.{each.name} must be at least 0{upper}, got {value}")
        if self.scale >= 1.0:
            raise ValueError(f"augmentation.scale must be below 1, got {self.scale}")


def augment(
    image: Image, mask: Mask, config: AugmentConfig, rng: np.random.Generator, *, upright: bool = False
) -> tuple[Image, Mask]:
    """Augment one standardised crop.

    Args:
        image: float32 [H, W].
        mask: [H, W], bool, or a soft label of floats in [0, 1], of which what is above 0.5 is target.
        config: Probabilities and ranges.
        rng: Source of all randomness.
        upright: Neither turn nor mirror the crop, but for the exchange of rows and columns, which keeps up and left.

    Returns:
        New image and mask of the same size (transposed crops need H = W). Every target component that a warp leaves
        inside the crop keeps at least one pixel.
    """
    if upright:
        config = replace(config, rotate_deg=0.0)
    if rng.random() < config.warp:
        image, mask = warp(image, mask, *_draw_warp(config, image.shape, rng))
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    if upright:
        if flip:
            image, mask = image.T, mask.T
    else:
        image, mask = np.rot90(image, turns), np.rot90(mask, turns)
        if flip:
            image, mask = image[:, ::-1], mask[:, ::-1]
    return photometric(image, config, rng), np.ascontiguousarray(mask)


def _draw_warp(
    config: AugmentConfig, shape: tuple[int, ...], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    angle = np.deg2rad(rng.uniform(-config.rotate_deg, config.rotate_deg))
    scale = 1.0 + rng.uniform(-config.scale, config.scale)
    cos, sin = np.cos(angle) / scale, np.sin(angle) / scale
    matrix = np.array([[cos, -sin], [sin, cos]])
    centre = (np.array(shape[:2]) - 1) / 2
    move = rng.uniform(-config.shift, config.shift, 2) * shape[:2]
    return matrix, centre - matrix @ (centre + move)


def warp(
    image: Image, mask: Mask, matrix: NDArray[np.float64], offset: NDArray[np.float64]
) -> tuple[Image, Mask]:
    """Resample so that output pixel o shows input position ``matrix @ o + offset`` (row, column), mirrored borders.

    The image is interpolated linearly and the mask by nearest neighbour; the pixel nearest to the centroid of a
    target that the nearest neighbour missed altogether is set again.
    """
    warped = ndimage.affine_transform(image, matrix, offset, order=1, mode="mirror", output=np.float32)
    labelled = np.asarray(mask, np.float32)
    moved = ndimage.affine_transform(labelled, matrix, offset, order=0, mode="mirror").astype(mask.dtype)
    labels, count = ndimage.label(labelled > 0.5, _EIGHT)
    if count:
        # Without mirrored copies: a target counts as kept where it went, not where a border shows it again.
        kept = np.unique(ndimage.affine_transform(labels, matrix, offset, order=0, mode="constant"))
        lost = np.setdiff1d(np.arange(1, count + 1), kept)
        inverse = np.linalg.inv(matrix)
        centres = ndimage.center_of_mass(labels > 0, labels, lost)
        for centre, value in zip(centres, ndimage.maximum(labelled, labels, lost), strict=True):
            row, column = np.rint(inverse @ (np.asarray(centre) - offset)).astype(int)
            if 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]:
                moved[row, column] = value
    return warped, moved


def photometric(image: Image, config: AugmentConfig, rng: np.random.Generator) -> Image:
    """Contrast, offset, white noise, row and column pattern and smooth shading, each with its own draw."""
    height, width = image.shape
    out = np.array(image, np.float32, order="C")

    def chosen() -> bool:
        return bool(rng.random() < config.photometric)

    if chosen():
        out *= np.float32(1.0 + rng.uniform(-config.gain, config.gain))
    if chosen():
        out += np.float32(rng.uniform(-config.offset, config.offset))
    if chosen():
        out += rng.standard_normal((height, width), np.float32) * np.float32(rng.uniform(0, config.noise))
    if chosen():
        deviation = np.float32(rng.uniform(0, config.pattern))
        out += rng.standard_normal((1, width), np.float32) * deviation
        out += rng.standard_normal((height, 1), np.float32) * deviation
    if chosen():
        rows, columns = (
            np.linspace(-1, 1, height, dtype=np.float32),
            np.linspace(-1, 1, width, dtype=np.float32),
        )
        a, b, c = rng.uniform(-config.shading, config.shading, 3).astype(np.float32)
        out += a * rows[:, None] + b * columns + c * (rows[:, None] ** 2 + columns**2 - np.float32(2 / 3))
    return out
