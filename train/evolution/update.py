# SPDX-License-Identifier: Apache-2.0
"""How a pseudo-mask follows what the network sees around its targets.

Sources: Yu et al., "PAL" (ICCV 2025), and for ``sequential`` without decay Ying et al., "LESPS" (CVPR 2023).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pitviper.core.metrics.components import find_components

Label = NDArray[np.float32]
Mask = NDArray[np.bool_]

LABEL_THRESHOLD = 0.5
"""A pixel of a label above it is target."""

_REACH = 16
_SEED = 1
_EIGHT = np.ones((3, 3), np.bool_)


@dataclass(frozen=True)
class UpdateRule:
    """Constants of the rule.

    Attributes:
        base: T_b, the threshold of a target without area, as a share of the largest probability around it.
        slope: k, how fast the rest of the way to the whole of it goes with the area.
        area_share: Share of the frame at which that way is over.
        cap: Largest threshold, as a share of the largest probability. Without it (infinity, as published) a target of
            more than twice ``area_share`` could never grow.
        decay: What a label keeps where the network sees no target.
        sequential: Let each region find the label as the one before left it, as LESPS does; else all see the same.
    """

    base: float = 0.5
    slope: float = 0.5
    area_share: float = 0.0015
    cap: float = 0.95
    decay: float = 0.97
    sequential: bool = False

    def threshold(self, area: int, size: int) -> float:
        """Of a region of ``area`` pixels in a frame of ``size`` pixels, as a share of the largest probability."""
        grown = self.base + self.slope * (1.0 - self.base) * area / (self.area_share * size)
        return min(grown, self.cap)


LESPS = UpdateRule(decay=1.0, sequential=True, cap=float("inf"))
"""The constants of LESPS."""


def update_label(
    label: Label, probability: NDArray[np.float32], protected: Mask, rule: UpdateRule | None = None
) -> Label:
    """One update of the label of a frame.

    For each region of the label, pixels near its centre whose probability is high for that neighbourhood, and that hang
    together with the centre, get the mean of label and probability. Other pixels decay; protected ones are 1.

    Args:
        label: L in [0, 1], [H, W]; regions are its 8-connected pixels above 0.5.
        probability: P in [0, 1], [H, W], of the teacher in evaluation mode.
        protected: [H, W], pixels that stay target whatever the network sees: the annotated points.
        rule: Constants.

    Returns:
        L', a new array.

    Raises:
        ValueError: Shapes differ, or the probability is not finite.
    """
    if not label.shape == probability.shape == protected.shape:
        raise ValueError(
            f"label, probability and protected must have one shape, got {label.shape}, {probability.shape} and "
            f"{protected.shape}"
        )
    if not np.isfinite(probability).all():
        raise ValueError("the probability of a frame is not finite, so its label cannot follow it")
    rule = rule or UpdateRule()
    regions = find_components(label > LABEL_THRESHOLD)
    centres = np.floor(regions.centroid_yx).astype(int)
    updated = label.astype(np.float32)
    chosen = np.zeros(label.shape, np.bool_)
    for area, (row, column) in zip(regions.area, centres, strict=True):
        window, grown = _candidates(probability, row, column, rule.threshold(int(area), label.size))
        chosen[window] |= grown
        if rule.sequential:
            part = updated[window]
            part[grown] = (part[grown] + probability[window][grown]) / 2
    if not rule.sequential:
        updated = np.where(chosen, (label + probability) / 2, label).astype(np.float32)
    updated[~chosen] *= np.float32(rule.decay)
    updated[protected] = 1.0
    return updated


def _candidates(
    probability: NDArray[np.float32], row: int, column: int, share: float
) -> tuple[tuple[slice, slice], Mask]:
    """The window around a centre, and its pixels above the threshold that hang together with the centre's 3x3."""
    top, left = max(row - _REACH, 0), max(column - _REACH, 0)
    window = (slice(top, row + _REACH + 1), slice(left, column + _REACH + 1))
    part = probability[window]
    above = part > part.max() * share
    labels, _ = ndimage.label(above, _EIGHT)
    y, x = row - top, column - left
    seeds = np.unique(labels[max(y - _SEED, 0) : y + _SEED + 1, max(x - _SEED, 0) : x + _SEED + 1])
    grown: Mask = above & np.isin(labels, seeds)
    return window, grown
