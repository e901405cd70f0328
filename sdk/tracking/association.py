# SPDX-License-Identifier: Apache-2.0
"""Which detection belongs to which track: one global decision per frame."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pitviper.sdk.tracking.kalman import Array

__all__ = ["gate_distance", "log_ratio", "match"]

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]


def gate_distance(probability: float) -> float:
    """Squared Mahalanobis distance that a target's own detection keeps to with a probability (chi-square, 2 dof)."""
    return -2.0 * math.log1p(-probability)


def log_ratio(spread: Array, clutter_per_px: float) -> Array:
    """Log-likelihood ratio [N] of a detection at the predicted point: from the track against from elsewhere.

    ``-ln(clutter * 2 pi sqrt(det S))`` (S. Blackman, R. Popoli, *Design and Analysis of Modern Tracking Systems*,
    Artech House 1999, section 6.2; at even odds of detection). Below 0 the track knows less of where its target is
    than the mean distance between unrelated detections tells: it must not claim any.

    Args:
        spread: Covariances of the innovations [N, 2, 2], px^2.
        clutter_per_px: Unrelated detections per pixel and frame.
    """
    return np.asarray(-np.log(clutter_per_px * 2 * math.pi * np.sqrt(np.linalg.det(spread))))


def match(predicted: Array, spread: Array, xy: Array, *, gate: float, clutter_per_px: float) -> Pairs:
    """Pairs with the largest sum of log-likelihood ratios; no pair is made outside the gate or at a ratio below 0.

    Args:
        predicted: Predicted points [T, 2] in pixels.
        spread: Covariances of the innovations [T, 2, 2].
        xy: Detected points [D, 2].
        gate: Largest squared Mahalanobis distance.
        clutter_per_px: Unrelated detections per pixel and frame.

    Returns:
        Indices of tracks and of their detections, of equal length, each index at most once.
    """
    nothing = np.empty(0, np.intp)
    if not len(predicted) or not len(xy):
        return nothing, nothing
    apart = xy[None, :, :] - predicted[:, None, :]
    distance = np.einsum("tdi,tij,tdj->td", apart, np.linalg.inv(spread), apart)
    ratio = log_ratio(spread, clutter_per_px)[:, None] - distance / 2
    possible = (distance <= gate) & (ratio > 0)
    rows, columns = np.flatnonzero(possible.any(axis=1)), np.flatnonzero(possible.any(axis=0))
    # What is not possible costs as much as no pair at all, so a complete assignment is the best partial one.
    cost = np.where(possible, -ratio, 0.0)[np.ix_(rows, columns)]
    row, column = linear_sum_assignment(cost)
    rows, columns = rows[row], columns[column]
    real = possible[rows, columns]
    return rows[real], columns[real]
