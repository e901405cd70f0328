# SPDX-License-Identifier: Apache-2.0
"""8-connected components of a mask, as lists of pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_EIGHT = np.ones((3, 3), np.bool_)


@dataclass(frozen=True)
class Components:
    """Components of one mask [H, W], ordered by their first pixel in raster order.

    Attributes:
        shape: (H, W) of the mask.
        area: Pixels of each component, int64 [N].
        sum_yx: Sums of row and of column indices, int64 [N, 2]; with ``area`` they hold the centroid exactly.
        pixels: Flat (raster) index of every pixel in any component, int64 [P].
        labels: 0-based component of every pixel of ``pixels``, int64 [P].
    """

    shape: tuple[int, int]
    area: NDArray[np.int64]
    sum_yx: NDArray[np.int64]
    pixels: NDArray[np.int64]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.area)

    @property
    def centroid_yx(self) -> NDArray[np.float64]:
        """Unweighted mean of row and column indices, float64 [N, 2] (y, x); the centre of a pixel is its index."""
        centroid: NDArray[np.float64] = self.sum_yx / self.area[:, None]
        return centroid

    def peaks(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Highest of ``values`` [H, W] within each component, float32 [N]."""
        highest = np.full(len(self), -np.inf, np.float32)
        np.maximum.at(highest, self.labels, values.reshape(-1)[self.pixels])
        return highest

    def mask(self, chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Mask [H, W] of the components for which ``chosen`` [N] is True."""
        result = np.zeros(self.shape, np.bool_)
        result.reshape(-1)[self.pixels[chosen[self.labels]]] = True
        return result


def find_components(mask: NDArray[np.bool_]) -> Components:
    """8-connected components of a bool mask [H, W]."""
    height, width = mask.shape
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return Components((height, width), _ints(0), np.zeros((0, 2), np.int64), _ints(0), _ints(0))
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    # Only the bounding region is labelled: maps of small targets are nearly empty.
    region = mask[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
    labelled, count = ndimage.label(region, structure=_EIGHT)
    y, x = np.nonzero(labelled)
    labels = labelled[y, x].astype(np.int64) - 1
    y, x = y + top, x + left
    area = np.bincount(labels, minlength=count).astype(np.int64)
    # Sums of indices stay far below 2**53, so the float64 accumulation of bincount is exact.
    sums = [np.bincount(labels, weights=axis, minlength=count) for axis in (y, x)]
    return Components((height, width), area, np.stack(sums, axis=1).astype(np.int64), y * width + x, labels)


def overlaps(truth: Components, predicted: Components) -> NDArray[np.int64]:
    """Pixels that each true and each predicted component share, int64 [len(truth), len(predicted)]."""
    owner = np.full(truth.shape[0] * truth.shape[1], -1, np.int64)
    owner[truth.pixels] = truth.labels
    of_pixel = owner[predicted.pixels]
    shared = of_pixel >= 0
    pairs = of_pixel[shared] * len(predicted) + predicted.labels[shared]
    counts = np.bincount(pairs, minlength=len(truth) * len(predicted)).astype(np.int64)
    return counts.reshape(len(truth), len(predicted))


def _ints(length: int) -> NDArray[np.int64]:
    return np.zeros(length, np.int64)
