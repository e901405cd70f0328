# SPDX-License-Identifier: Apache-2.0
"""What is kept of each image, and sums of it over the set or over many resampled sets at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitviper.core.metrics.hierarchical import HierarchicalCounts
from pitviper.core.metrics.pixel import PixelCounts, iou
from pitviper.core.metrics.sweep import SweepCounts
from pitviper.core.metrics.target import TargetCounts


@dataclass(frozen=True)
class ImageCounts:
    """Everything that one image adds to the set: its counts at the threshold, and over thresholds if asked for."""

    pixel: PixelCounts
    target: TargetCounts
    hierarchical: HierarchicalCounts
    sweep: SweepCounts | None = None

    @property
    def iou(self) -> float:
        """IoU of this image alone; 1 when truth and prediction are both empty."""
        return float(iou(self.pixel.tp, self.pixel.fp, self.pixel.fn))


class CountTable:
    """Columns of a list of `ImageCounts`, and weighted sums of them.

    Args:
        images: At least one image; either all with a sweep or all without.
    """

    def __init__(self, images: Sequence[ImageCounts]) -> None:
        self.images = len(images)
        self.columns: dict[str, NDArray[Any]] = {}
        for part in ("pixel", "target", "hierarchical"):
            rows = [asdict(getattr(image, part)) for image in images]
            self.columns |= {f"{part}_{name}": np.array([row[name] for row in rows]) for name in rows[0]}
        sweeps = [image.sweep for image in images if image.sweep is not None]
        if sweeps:
            for name in SweepCounts.NAMES:
                self.columns[f"sweep_{name}"] = np.stack([getattr(sweep, name) for sweep in sweeps]).astype(
                    np.int64
                )

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.columns[name]

    @property
    def has_sweep(self) -> bool:
        """Whether the images carry counts over thresholds."""
        return "sweep_tp" in self.columns

    def total(self, name: str, weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """`weighted_sum` of a column by name."""
        return weighted_sum(self.columns[name], weights)


def weighted_sum(values: NDArray[Any], weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Sum over images, float64 [B, ...].

    Args:
        values: [N] or [N, ...], one row an image.
        weights: How often each image is drawn in each of B sets, float64 [B, N]; None is the set itself (B = 1), whose
            sums are exact and therefore do not depend on the order of the images.
    """
    if weights is not None:
        flat = weights @ values.reshape(len(values), -1).astype(np.float64)
        return flat.reshape(len(weights), *values.shape[1:])
    if np.issubdtype(values.dtype, np.integer):
        return np.asarray(values.sum(axis=0), np.float64)[None]
    columns = values.reshape(len(values), -1).T
    return np.array([fsum(column) for column in columns]).reshape(1, *values.shape[1:])
