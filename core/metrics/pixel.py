# SPDX-License-Identifier: Apache-2.0
"""Pixel counts and the ratios made of them. Every ratio works on numbers and on arrays of pooled counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PixelCounts:
    """Pixels of one image: true positive, false positive, false negative, true negative."""

    tp: int
    fp: int
    fn: int
    tn: int


def count_pixels(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> PixelCounts:
    """Count the pixels of two bool masks [H, W] of one shape."""
    tp = int(np.count_nonzero(predicted & truth))
    fp = int(np.count_nonzero(predicted)) - tp
    fn = int(np.count_nonzero(truth)) - tp
    return PixelCounts(tp, fp, fn, truth.size - tp - fp - fn)


def ratio(part: ArrayLike, whole: ArrayLike, empty: ArrayLike = np.nan) -> Floats:
    """``part / whole``, and ``empty`` where ``whole`` is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    result: Floats = np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), empty)
    return result


def iou(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> Floats:
    """TP / (TP + FP + FN); 1 when both sides are empty."""
    return ratio(tp, np.add(np.add(tp, fp), fn), 1.0)


def precision(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> Floats:
    """TP / (TP + FP); without a prediction 1 if nothing was missed, else 0."""
    return ratio(tp, np.add(tp, fp), np.where(np.asarray(fn) == 0, 1.0, 0.0))


def recall(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike) -> Floats:
    """TP / (TP + FN), which published code also calls pixel accuracy; without truth 1 if nothing is false, else 0."""
    return ratio(tp, np.add(tp, fn), np.where(np.asarray(fp) == 0, 1.0, 0.0))


def f_beta(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, beta2: float = 1.0) -> Floats:
    """(1 + beta2) P R / (beta2 P + R), written in counts; beta2 = 1 is F1. 1 when both sides are empty."""
    hits = (1.0 + beta2) * np.asarray(tp, np.float64)
    return ratio(hits, hits + beta2 * np.asarray(fn, np.float64) + np.asarray(fp, np.float64), 1.0)


def false_positive_rate(fp: ArrayLike, tn: ArrayLike) -> Floats:
    """FP / (FP + TN); 0 without a background pixel."""
    return ratio(fp, np.add(fp, tn), 0.0)
