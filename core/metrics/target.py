# SPDX-License-Identifier: Apache-2.0
"""Counts of found, missed and false targets in one image, by several published rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pitviper.core.metrics.components import Components, find_components, overlaps
from pitviper.core.metrics.matching import centroid_distances, closer_than, match_greedy, match_optimal
from pitviper.core.metrics.profiles import Profile


@dataclass(frozen=True)
class TargetCounts:
    """Targets of one image.

    ``true`` and ``predicted`` count components, ``matched`` pairs of them; ``false_pixels`` is the numerator of Fa.
    """

    true: int
    predicted: int
    matched: int
    false_pixels: int


def match_targets(
    truth: Components, predicted: Components, profile: Profile, distance: float = 3.0
) -> NDArray[np.int64]:
    """Pairs (true, predicted), int64 [M, 2], with centroids strictly less than ``distance`` pixels apart.

    Of equally short optimal matchings the one that leaves the smaller predicted area unmatched is taken, so that Fa
    does not depend on the orientation of the image.
    """
    if not len(truth) or not len(predicted):
        return np.zeros((0, 2), np.int64)
    distances = centroid_distances(truth, predicted)
    allowed = closer_than(truth, predicted, distance, distances=distances)
    if profile.matching == "greedy":
        return match_greedy(allowed)
    weight = np.broadcast_to(predicted.area / predicted.area.sum(), distances.shape)
    return match_optimal(distances, allowed, preference=weight)


def count_targets(
    truth: Components, predicted: Components, profile: Profile, distance: float = 3.0
) -> TargetCounts:
    """Count the targets of one image; Pd = matched / true, Fa = false_pixels / pixels of the image."""
    return count_matched(truth, predicted, match_targets(truth, predicted, profile, distance), profile)


def count_matched(
    truth: Components, predicted: Components, pairs: NDArray[np.int64], profile: Profile
) -> TargetCounts:
    """Counts of a matching that is already known."""
    unmatched = np.ones(len(predicted), np.bool_)
    unmatched[pairs[:, 1]] = False
    if profile.area_membership:
        unmatched = ~np.isin(predicted.area, predicted.area[~unmatched])
    return TargetCounts(len(truth), len(predicted), len(pairs), int(predicted.area[unmatched].sum()))


def count_overlapping(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[TargetCounts, int]:
    """A target is found when any predicted pixel lies on it; every predicted background pixel is false.

    Rule of the ``my`` variant of Tianfang-Zhang/ISTD-python. ``matched`` counts true targets.

    Returns:
        The counts, and the background pixels that Fa is divided by.
    """
    true, found = find_components(truth), find_components(predicted)
    hit = int((overlaps(true, found).sum(axis=1) > 0).sum())
    false = int(np.count_nonzero(predicted & ~truth))
    return TargetCounts(len(true), len(found), hit, false), int(np.count_nonzero(~truth))


def count_shots(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_], *, hit_radius: int = 1, false_radius: int = 4
) -> TargetCounts:
    """Shooting rule of multi-frame papers (box radii as in lartpang/PyIRSTDMetrics); ``matched`` counts true targets.

    Args:
        predicted: bool [H, W].
        truth: bool [H, W].
        hit_radius: A target is hit by any predicted pixel within this Chebyshev distance (pixels) of any of its pixels.
        false_radius: A predicted pixel is false when it is farther than this from every target pixel.
    """
    true = find_components(truth)
    reached = _dilate(predicted, hit_radius).reshape(-1)[true.pixels]
    hit = len(np.unique(true.labels[reached]))
    false = int(np.count_nonzero(predicted & ~_dilate(truth, false_radius)))
    return TargetCounts(len(true), len(find_components(predicted)), hit, false)


def _dilate(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    grown: NDArray[np.bool_] = ndimage.maximum_filter(mask, size=2 * radius + 1, mode="constant", cval=False)
    return grown
