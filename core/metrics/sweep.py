# SPDX-License-Identifier: Apache-2.0
"""Counts of one image at many thresholds, labelling only where the mask really changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pitviper.core.metrics.components import Components, find_components
from pitviper.core.metrics.matching import centroid_distances, closer_than, match_optimal
from pitviper.core.metrics.profiles import Profile
from pitviper.core.metrics.target import count_targets


@dataclass(frozen=True)
class SweepCounts:
    """One image over T thresholds and D distances, int64.

    Attributes:
        tp: Predicted pixels on targets [T].
        fp: Predicted pixels on background [T].
        fn: Target pixels that are not predicted [T].
        true: True components [T] (the same at every threshold, kept so that sums need no other table).
        predicted: Predicted components [T].
        matched: Pairs by the rule of the profile [T].
        false_pixels: Numerator of Fa [T].
        within: Pairs of an optimal matching with distance < d [T, D].
    """

    NAMES: ClassVar[tuple[str, ...]] = (
        "tp", "fp", "fn", "true", "predicted", "matched", "false_pixels", "within",
    )  # fmt: skip

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    matched: NDArray[np.int64]
    false_pixels: NDArray[np.int64]
    within: NDArray[np.int64]


def sweep_image(
    probability: NDArray[Any],
    truth: NDArray[np.bool_],
    *,
    thresholds: Sequence[float],
    distances: Sequence[float],
    profile: Profile,
    distance: float = 3.0,
    components: Components | None = None,
) -> SweepCounts:
    """Count one checked image at ascending thresholds (probability > t, strictly).

    Args:
        probability: Floating point [H, W] in [0, 1].
        truth: bool [H, W].
        thresholds: T ascending values in [0, 1].
        distances: D distances in pixels for ``within``.
        profile: Matching rule of ``matched`` and ``false_pixels``.
        distance: Distance in pixels of that rule.
        components: Components of ``truth`` if they are known.
    """
    true = find_components(truth) if components is None else components
    steps = len(thresholds)
    # level = how many thresholds lie below the pixel, so that `probability > thresholds[k]` is `level > k`.
    edges = np.asarray(thresholds, probability.dtype)
    level = np.zeros(probability.shape, np.int16)
    some = probability > edges[0]
    level[some] = np.searchsorted(edges, probability[some], side="left")
    tp = _above(np.bincount(level[truth], minlength=steps + 1))
    fp = _above(np.bincount(level[~truth], minlength=steps + 1))
    full = np.full(steps, len(true), np.int64)
    predicted, matched, false_pixels = (np.zeros(steps, np.int64) for _ in range(3))
    within = np.zeros((steps, len(distances)), np.int64)
    changed = np.diff(tp + fp, prepend=-1) != 0
    for k in range(steps):
        if not changed[k]:
            for row in (predicted, matched, false_pixels, within):
                row[k] = row[k - 1]
        elif tp[k] + fp[k]:
            found = find_components(level > k)
            counts = count_targets(true, found, profile, distance)
            predicted[k], matched[k], false_pixels[k] = counts.predicted, counts.matched, counts.false_pixels
            within[k] = count_within(true, found, distances)
    return SweepCounts(tp, fp, int(truth.sum()) - tp, full, predicted, matched, false_pixels, within)


def count_within(truth: Components, predicted: Components, distances: Sequence[float]) -> list[int]:
    """Pairs of an optimal matching below each distance in pixels."""
    if not len(truth) or not len(predicted):
        return [0] * len(distances)
    apart = centroid_distances(truth, predicted)
    return [len(match_optimal(apart, closer_than(truth, predicted, d, distances=apart))) for d in distances]


def _above(histogram: NDArray[np.intp]) -> NDArray[np.int64]:
    """Pixels above each threshold, from the histogram of levels [T + 1]."""
    return np.cumsum(histogram[::-1])[::-1][1:].astype(np.int64)
