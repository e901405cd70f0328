# SPDX-License-Identifier: Apache-2.0
"""Which predicted component belongs to which true one: distances and one-to-one matchings.

A matching is an int64 array [M, 2] of (true index, predicted index), in ascending order of the true index.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from pitviper.core.metrics.components import Components

# Breaks exact ties of the total distance only: distances of centroids differ by far more than this or not at all.
_TIE = 1e-9
# Width of the band around the limit inside which floating point cannot be trusted and integers decide.
_BAND = 1e-6


def centroid_distances(truth: Components, predicted: Components) -> NDArray[np.float64]:
    """Euclidean distances of centroids in pixels, float64 [len(truth), len(predicted)]."""
    difference = truth.centroid_yx[:, None] - predicted.centroid_yx[None]
    distance: NDArray[np.float64] = np.hypot(difference[..., 0], difference[..., 1])
    return distance


def closer_than(
    truth: Components, predicted: Components, limit: float, *, distances: NDArray[np.float64] | None = None
) -> NDArray[np.bool_]:
    """Pairs whose centroids are strictly less than ``limit`` pixels apart, bool [len(truth), len(predicted)].

    Pairs at the limit are decided in integers, so that a distance of exactly ``limit`` is never taken for a smaller one
    whatever the coordinates are (a flipped image gives the same answer).
    """
    if distances is None:
        distances = centroid_distances(truth, predicted)
    close: NDArray[np.bool_] = distances < limit
    for g, q in np.argwhere(np.abs(distances - limit) < _BAND):
        square = Fraction(0)
        for axis in (0, 1):
            mean_g = Fraction(int(truth.sum_yx[g, axis]), int(truth.area[g]))
            mean_q = Fraction(int(predicted.sum_yx[q, axis]), int(predicted.area[q]))
            square += (mean_g - mean_q) ** 2
        close[g, q] = square < Fraction(limit) ** 2
    return close


def match_optimal(
    distances: NDArray[np.float64],
    allowed: NDArray[np.bool_],
    *,
    preference: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """Matching of maximum cardinality among the allowed pairs and, among these, of minimum total distance.

    Args:
        distances: float64 [G, Q], finite and not negative.
        allowed: bool [G, Q].
        preference: float64 [G, Q] in [0, 1]; of several matchings with the same total distance the one with the larger
            total preference is taken.
    """
    if not allowed.any():
        return np.zeros((0, 2), np.int64)
    if allowed.sum(axis=0).max() <= 1 and allowed.sum(axis=1).max() <= 1:
        return np.argwhere(allowed)
    rows, columns = np.flatnonzero(allowed.any(axis=1)), np.flatnonzero(allowed.any(axis=0))
    block = np.ix_(rows, columns)
    cost = distances[block] if preference is None else distances[block] - _TIE * preference[block]
    # One forbidden pair costs more than any set of allowed ones, so the assignment uses as few of them as it can.
    forbidden = (float(cost[allowed[block]].max()) + 1.0) * (min(len(rows), len(columns)) + 1)
    g, q = linear_sum_assignment(np.where(allowed[block], cost, forbidden))
    kept = allowed[block][g, q]
    return np.stack([rows[g[kept]], columns[q[kept]]], axis=1).astype(np.int64)


def match_greedy(allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each true component in order, the first predicted one that is allowed and still free (not the nearest)."""
    pairs: list[tuple[int, int]] = []
    free = np.ones(allowed.shape[1], np.bool_)
    for g in np.flatnonzero(allowed.any(axis=1)):
        candidates = np.flatnonzero(allowed[g] & free)
        if len(candidates):
            free[candidates[0]] = False
            pairs.append((int(g), int(candidates[0])))
    return np.array(pairs, np.int64).reshape(-1, 2)


def match_minsum(
    distances: NDArray[np.float64], *, preference: NDArray[np.float64] | None = None
) -> NDArray[np.int64]:
    """Assignment of minimum total distance over all pairs, allowed or not (first stage of OPDC)."""
    cost = distances if preference is None else distances - _TIE * preference
    g, q = linear_sum_assignment(cost)
    return np.stack([g, q], axis=1).astype(np.int64)
