# SPDX-License-Identifier: Apache-2.0
"""HSE, Holistic SIRST Evaluation: pixel-level confidence and target-level robustness over all thresholds.

The name is from FDEP (arXiv 2512.05511), whose formula was not available. What is computed here is our definition and
is always printed with its tag, ``hse-v0``; it cannot be compared with published values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pitviper.core.metrics import pixel
from pitviper.core.metrics.checks import check_pair
from pitviper.core.metrics.counts import CountTable, weighted_sum
from pitviper.core.metrics.profiles import PROFILES
from pitviper.core.metrics.sweep import SweepCounts, sweep_image

Floats = NDArray[np.float64]

HSE_VERSION = "hse-v0"
HSE_THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(1, 20))
HSE_DISTANCES = (1.0, 2.0, 3.0, 4.0, 5.0)
# What a sweep is run over: 101 points for the curves, which contain the 19 of HSE.
SWEEP_THRESHOLDS = tuple(round(0.01 * k, 2) for k in range(101))
_HSE_STEPS = [SWEEP_THRESHOLDS.index(t) for t in HSE_THRESHOLDS]


@dataclass(frozen=True)
class HSE:
    """``pix`` and ``tgt`` in [0, 1] and their mean ``value``; the three are reported together, with the tag."""

    value: float
    pix: float
    tgt: float
    version: str = HSE_VERSION


def hse(
    pairs: Iterable[tuple[ArrayLike, ArrayLike]],
    *,
    thresholds: Sequence[float] = HSE_THRESHOLDS,
    distances: Sequence[float] = HSE_DISTANCES,
) -> HSE:
    """HSE of a set of (probability [H, W] in [0, 1], truth bool [H, W]).

    pix = mean over thresholds of (IoU + nIoU) / 2; tgt = mean over thresholds and distances (pixels) of the target F1
    with optimal matching; HSE = (pix + tgt) / 2.

    Raises:
        ValueError: No image, or an image that `check_pair` refuses.
    """
    sweeps = []
    for probability, truth in pairs:
        scores, mask = check_pair(probability, truth)
        sweeps.append(
            sweep_image(scores, mask, thresholds=thresholds, distances=distances, profile=PROFILES["ours"])
        )
    if not sweeps:
        raise ValueError("HSE of no image is undefined; pass at least one (probability, truth) pair")
    stacked = {name: np.stack([getattr(sweep, name) for sweep in sweeps]) for name in SweepCounts.NAMES}
    pix, tgt = _parts(stacked, None)
    return HSE(float((pix[0] + tgt[0]) / 2), float(pix[0]), float(tgt[0]))


def hse_parts(table: CountTable, weights: Floats | None) -> tuple[Floats, Floats]:
    """``pix`` and ``tgt``, each float64 [B], of a table that was swept over `SWEEP_THRESHOLDS` and `HSE_DISTANCES`."""
    steps = {name: table[f"sweep_{name}"][:, _HSE_STEPS] for name in SweepCounts.NAMES}
    return _parts(steps, weights)


def _parts(counts: dict[str, NDArray[np.int64]], weights: Floats | None) -> tuple[Floats, Floats]:
    def total(name: str) -> Floats:
        return weighted_sum(counts[name], weights)

    images = len(counts["tp"])
    pooled = pixel.iou(total("tp"), total("fp"), total("fn"))  # [B, T]
    each = pixel.iou(counts["tp"], counts["fp"], counts["fn"])  # [N, T]
    pix = ((pooled + weighted_sum(each, weights) / images) / 2).mean(axis=1)
    objects = (total("true") + total("predicted"))[:, :, None]
    f1 = pixel.ratio(2 * total("within"), objects, 1.0)  # [B, T, D]
    return pix, f1.mean(axis=(1, 2))
