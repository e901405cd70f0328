# SPDX-License-Identifier: Apache-2.0
"""The parts of the edge procedure on a patch of 8 bits: high-pass, Canny, closing, and the outline around a pixel.

Each does what OpenCV's function of that name does on a patch, so that initial masks are those of the published
pipelines: Canny with a 3x3 Sobel kernel, |dx| + |dy| as the magnitude, replicated borders and thresholds that an edge
must exceed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Gray = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_EIGHT = np.ones((3, 3), np.bool_)
_SMOOTH = np.array([1, 2, 1], np.int64)
_DERIVE = np.array([-1, 0, 1], np.int64)

# Tangents of 22.5 and 67.5 degrees in 2**-15, the fixed-point numbers of OpenCV.
_SHIFT = 15
_TAN_22 = 13573
_TAN_67 = _TAN_22 + (2 << _SHIFT)


def high_pass(patch: Gray) -> Gray:
    """The patch [H, W] minus itself blurred by [1, 2, 1] / 4 along both axes, cut off at 0."""
    wide = np.asarray(patch, np.int64)
    for axis in (0, 1):
        wide = ndimage.correlate1d(wide, _SMOOTH, axis=axis, mode="mirror")
    blurred = (wide + 8) >> 4
    result: Gray = np.clip(patch.astype(np.int64) - blurred, 0, 255).astype(np.uint8)
    return result


def canny(patch: Gray, low: int, high: int) -> Mask:
    """Edges [H, W] of a patch: thin maxima of the gradient above ``low`` that hang together with one above ``high``."""
    wide = np.asarray(patch, np.int64)
    dx = ndimage.correlate1d(
        ndimage.correlate1d(wide, _DERIVE, axis=1, mode="nearest"), _SMOOTH, axis=0, mode="nearest"
    )
    dy = ndimage.correlate1d(
        ndimage.correlate1d(wide, _DERIVE, axis=0, mode="nearest"), _SMOOTH, axis=1, mode="nearest"
    )
    magnitude = np.abs(dx) + np.abs(dy)
    thin = (magnitude > low) & _is_maximum(magnitude, dx, dy)
    labels, _ = ndimage.label(thin, _EIGHT)
    strong = np.unique(labels[thin & (magnitude > high)])
    edges: Mask = np.isin(labels, strong) & thin
    return edges


def _is_maximum(magnitude: NDArray[np.int64], dx: NDArray[np.int64], dy: NDArray[np.int64]) -> Mask:
    """Whether a pixel is largest along its gradient, of four directions; beyond the border lies 0."""
    height, width = magnitude.shape
    padded = np.pad(magnitude, 1)

    def beside(rows: int, columns: int) -> NDArray[np.int64]:
        return padded[1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    x, y = np.abs(dx), np.abs(dy) << _SHIFT
    horizontal, vertical = y < x * _TAN_22, y > x * _TAN_67
    # One side is compared strictly, so that of two equal neighbours one remains.
    across = (magnitude > beside(0, -1)) & (magnitude >= beside(0, 1))
    down = (magnitude > beside(-1, 0)) & (magnitude >= beside(1, 0))
    falling = (magnitude > beside(-1, -1)) & (magnitude > beside(1, 1))
    rising = (magnitude > beside(-1, 1)) & (magnitude > beside(1, -1))
    diagonal = np.where((dx ^ dy) < 0, rising, falling)
    result: Mask = np.where(horizontal, across, np.where(vertical, down, diagonal))
    return result


def close(edges: Mask) -> Mask:
    """Dilate, then erode by 3x3 ones; pixels beyond the border do not matter to either."""
    dilated = ndimage.binary_dilation(edges, _EIGHT)
    closed: Mask = ndimage.binary_erosion(dilated, _EIGHT, border_value=1)
    return closed


def outline_around(edges: Mask, row: int, column: int) -> Mask | None:
    """The filled outer outline of the edges [H, W] that a pixel lies in or on, or None."""
    labels, _ = ndimage.label(ndimage.binary_fill_holes(edges), _EIGHT)
    number = labels[row, column]
    return None if number == 0 else labels == number


def outline_area(filled: Mask) -> float:
    """Area of the polygon through the centres of the border pixels of a filled outline, in pixels.

    A 5x5 square has 16, a single pixel 0. Of each square between four neighbouring centres it holds all when the four
    are set, and half when three are.
    """
    padded = np.pad(filled, 1).astype(np.int64)
    corners = padded[:-1, :-1] + padded[:-1, 1:] + padded[1:, :-1] + padded[1:, 1:]
    return float((corners == 4).sum() + 0.5 * (corners == 3).sum())
