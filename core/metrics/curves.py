# SPDX-License-Identifier: Apache-2.0
"""Pixel ROC and precision-recall: exact for scores at hand, and from a histogram for sets that do not fit in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

# A float32 in [0, 1] without its last 11 bits: 4,096 bins in each factor of two, however small the score.
_DROPPED_BITS = 11
_BINS = (int(np.float32(1.0).view(np.uint32)) >> _DROPPED_BITS) + 1


@dataclass(frozen=True)
class PixelCurve:
    """Cumulative counts over distinct scores, highest first; pixels of one score form one step.

    Attributes:
        tp: Target pixels with at least this score, int64 [S].
        fp: Background pixels with at least this score, int64 [S].
    """

    tp: Counts
    fp: Counts

    def roc(self) -> tuple[Floats, Floats] | None:
        """(FPR, TPR) with the end points (0, 0) and (1, 1), each [S + 1]; None without target or background."""
        if not len(self.tp) or not self.tp[-1] or not self.fp[-1]:
            return None
        start = np.zeros(1)
        return np.append(start, self.fp / self.fp[-1]), np.append(start, self.tp / self.tp[-1])

    def auc(self) -> float | None:
        """Area under the ROC: the chance that a random target pixel outscores a random background pixel, ties 1/2."""
        roc = self.roc()
        if roc is None:
            return None
        fpr, tpr = roc
        return float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2))

    def precision_recall(self) -> tuple[Floats, Floats] | None:
        """(recall, precision) over distinct scores, highest first, each [S]; None without target pixels."""
        if not len(self.tp) or not self.tp[-1]:
            return None
        return self.tp / self.tp[-1], self.tp / (self.tp + self.fp)

    def average_precision(self) -> float | None:
        """AP = sum of (R_n - R_(n-1)) P_n, without interpolation; None without target pixels."""
        curve = self.precision_recall()
        if curve is None:
            return None
        recall, precision = curve
        return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def pixel_curve(scores: ArrayLike, truth: ArrayLike) -> PixelCurve:
    """Exact curve of scores and bool truth of one shape."""
    values = np.asarray(scores).reshape(-1)
    labels = np.asarray(truth, np.bool_).reshape(-1)
    if values.shape != labels.shape:
        raise ValueError(
            f"scores and truth must have one shape, got {np.shape(scores)} and {np.shape(truth)}"
        )
    distinct, position = np.unique(values, return_inverse=True)
    positive = np.bincount(position[labels], minlength=len(distinct))
    everything = np.bincount(position, minlength=len(distinct))
    return _curve(positive, everything - positive)


class ScoreHistogram:
    """Scores of target and background pixels of any number of images, in 520,193 bins of relative width 2**-12.

    Scores that share a bin count as ties. With scores spread over [0, 1] that changes AUC and AP in the fifth digit at
    most; background scores of any smallness stay apart, which equally wide bins would lump together.
    """

    def __init__(self) -> None:
        self.positive: Counts = np.zeros(_BINS, np.int64)
        self.negative: Counts = np.zeros(_BINS, np.int64)

    def add(self, probability: NDArray[Any], truth: NDArray[np.bool_]) -> None:
        """Add one checked image: floating-point probability [H, W] in [0, 1] and bool truth [H, W]."""
        # Adding 0 turns a negative zero, whose bits would be huge, into zero.
        bits = (np.ascontiguousarray(probability, np.float32) + np.float32(0)).view(
            np.uint32
        ) >> _DROPPED_BITS
        np.add.at(self.positive, bits[truth].astype(np.intp), 1)
        np.add.at(self.negative, bits[~truth].astype(np.intp), 1)

    def merge(self, other: ScoreHistogram) -> None:
        """Add the pixels of another histogram."""
        self.positive = self.positive + other.positive
        self.negative = self.negative + other.negative

    def curve(self) -> PixelCurve:
        """The curve of everything that was added."""
        used = (self.positive + self.negative) > 0
        return _curve(self.positive[used], self.negative[used])


def _curve(positive: NDArray[Any], negative: NDArray[Any]) -> PixelCurve:
    """Curve of the counts of ascending distinct scores."""
    return PixelCurve(np.cumsum(positive[::-1]).astype(np.int64), np.cumsum(negative[::-1]).astype(np.int64))
