# SPDX-License-Identifier: Apache-2.0
"""Point labels from masks: one pixel (row, column) for each target.

Source: Yu et al., "PAL" (ICCV 2025), with two kinds of points for how exactly people click: centroid and coarse.
"""

from __future__ import annotations

from itertools import count

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pitviper.core.metrics.components import find_components
from pitviper.core.points import Points

_COARSE_DEVIATION = 0.25
_COARSE_ATTEMPTS = 200
_EIGHT = np.ones((3, 3), np.bool_)


def centroid_points(mask: NDArray[np.bool_]) -> Points:
    """One point for each 8-connected component of a mask [H, W]: the floor of its centroid, in pixel indices.

    That of a ring or a crescent may lie beside its target.
    """
    points: Points = np.floor(find_components(mask).centroid_yx).astype(np.int32)
    return points


def coarse_points(mask: NDArray[np.bool_], rng: np.random.Generator) -> Points:
    """One inexact point for each component: its centroid and a normal error of an eighth of its box.

    Each axis gets (side of the box / 2) times a normal number of standard deviation 1/4; the floor of the result is
    drawn again until it lies on a pixel of any target. Two targets may so get the same point, and
    ``core.points.require_points`` tells.

    Args:
        mask: [H, W].
        rng: Source of all randomness.
    """
    labels, _ = ndimage.label(mask, _EIGHT)
    limit = np.array(mask.shape) - 1
    points = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        sides = np.array([part.stop - part.start for part in box])
        centre = np.argwhere(labels[box] == number).mean(axis=0) + [part.start for part in box]
        for attempt in count():
            if attempt == _COARSE_ATTEMPTS:
                # The centroid of a ring may be too far from its target for this error to reach it in sensible time.
                centre = _nearest(labels == number, centre)
            error = sides / 2 * rng.normal(0.0, _COARSE_DEVIATION, 2)
            row, column = np.clip(np.floor(centre + error).astype(int), 0, limit)
            if mask[row, column]:
                points.append((row, column))
                break
    return np.array(points, np.int32).reshape(-1, 2)


def point_mask(points: Points, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask [H, W] of the points alone."""
    mask = np.zeros(shape, np.bool_)
    mask[points[:, 0], points[:, 1]] = True
    return mask


def _nearest(target: NDArray[np.bool_], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    pixels = np.argwhere(target) + 0.5
    nearest: NDArray[np.float64] = pixels[np.square(pixels - centre).sum(axis=1).argmin()]
    return nearest
