# SPDX-License-Identifier: Apache-2.0
"""The outline of a target as a level set: pixels around a point that reach a share of its height over the background.

Of a blurred point this is its width at that share of the maximum, which is what a person outlines; it needs no edges,
and its scale is the target's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SHARES = (0.4, 0.5, 0.6, 0.7)
"""Of the height, tried in this order until the outline is small enough; see docs/points.md for how they were found."""

LARGEST_AREA = 100
"""Pixels: 0.15 % of 256x256, up to which the field speaks of small targets."""

_EIGHT = np.ones((3, 3), np.bool_)


def level_outline(patch: NDArray[Any], row: int, column: int) -> NDArray[np.bool_] | None:
    """The filled 8-connected region through the 3x3 pixels around a place, at the lowest share at which it is small.

    The height is that of the brightest of the 3x3 over the median of the patch, so that neither gain nor offset matter.

    Args:
        patch: [h, w], targets bright.
        row: Of the place, inside the patch.
        column: Of the place.

    Returns:
        bool [h, w], or None where nothing stands out or every region is larger than ``LARGEST_AREA``.
    """
    values = patch.astype(np.float64)
    seeds = (slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2))
    background, peak = np.median(values), values[seeds].max()
    if peak <= background:
        return None
    for share in SHARES:
        labels, _ = ndimage.label(values >= background + share * (peak - background), _EIGHT)
        inside = np.unique(labels[seeds])
        region: NDArray[np.bool_] = ndimage.binary_fill_holes(np.isin(labels, inside[inside > 0]))
        if region.sum() <= LARGEST_AREA:
            return region
    return None
