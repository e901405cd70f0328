# SPDX-License-Identifier: Apache-2.0
"""hIoU and what it loses where: segmentation and localisation errors of matched and unmatched components.

Hierarchical IoU with OPDC matching (overlap first, then distance) as in lartpang/PyIRSTDMetrics; the profile says
whether its phantom objects and its unmasked second stage are reproduced.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum

import numpy as np
from numpy.typing import NDArray

from pitviper.core.metrics.components import Components, overlaps
from pitviper.core.metrics.matching import centroid_distances, closer_than, match_minsum, match_optimal
from pitviper.core.metrics.profiles import Profile


@dataclass(frozen=True)
class HierarchicalCounts:
    """One image. ``tp``, ``fp``, ``fn`` count components.

    ``seg``, ``mrg``, ``seg_itf`` and ``seg_pcp`` are sums over the matched pairs of the fractions IoU, merging,
    interference and perception, which add up to 1 for each pair. ``s2m`` (single to multi), ``m2s`` (multi to single),
    ``loc_itf`` and ``loc_pcp`` count unmatched components; with ``tp`` they add up to tp + fp + fn.
    """

    tp: int
    fp: int
    fn: int
    s2m: int
    m2s: int
    loc_itf: int
    loc_pcp: int
    seg: float
    mrg: float
    seg_itf: float
    seg_pcp: float


def match_opdc(
    truth: Components, predicted: Components, profile: Profile, distance: float = 3.0
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Match by region IoU >= 0.5 first and by centroid distance < ``distance`` pixels second.

    Returns:
        Pairs (true, predicted), int64 [M, 2], and the candidate pairs that meet either condition, bool [G, Q].
    """
    shape = (len(truth), len(predicted))
    if 0 in shape:
        return np.zeros((0, 2), np.int64), np.zeros(shape, np.bool_)
    shared = overlaps(truth, predicted)
    union = truth.area[:, None] + predicted.area[None] - shared
    distances = centroid_distances(truth, predicted)
    close = closer_than(truth, predicted, distance, distances=distances)
    covered = 2 * shared >= union
    # Equal distances are decided by overlap except where the reference is reproduced, which leaves it to the solver.
    preference = shared / union if profile.stage2 == "masked" else None
    pairs = np.zeros((0, 2), np.int64)
    if covered.any():
        pairs = match_minsum(distances, preference=preference)
        pairs = pairs[covered[pairs[:, 0], pairs[:, 1]]]
    g = np.setdiff1d(np.arange(shape[0]), pairs[:, 0])
    q = np.setdiff1d(np.arange(shape[1]), pairs[:, 1])
    if len(g) and len(q):
        block = np.ix_(g, q)
        if profile.stage2 == "masked":
            assert preference is not None
            second = match_optimal(distances[block], close[block], preference=preference[block])
        else:
            second = match_minsum(distances[block])
            second = second[close[block][second[:, 0], second[:, 1]]]
        pairs = np.concatenate([pairs, np.stack([g[second[:, 0]], q[second[:, 1]]], axis=1)])
    return pairs, close | covered


def count_hierarchical(
    truth: Components, predicted: Components, profile: Profile, distance: float = 3.0
) -> HierarchicalCounts:
    """Counts of one image for hIoU and its error decomposition."""
    pairs, candidate = match_opdc(truth, predicted, profile, distance)
    lost, false = np.ones(len(truth), np.bool_), np.ones(len(predicted), np.bool_)
    lost[pairs[:, 0]] = False
    false[pairs[:, 1]] = False
    true_candidate, predicted_candidate = candidate.any(axis=1), candidate.any(axis=0)
    fp, fn = int(false.sum()), int(lost.sum())
    loc_itf, loc_pcp = int((~predicted_candidate).sum()), int((~true_candidate).sum())
    if profile.phantom_objects:
        no_truth, no_prediction = int(len(truth) == 0), int(len(predicted) == 0)
        fn, loc_pcp = fn + no_truth, loc_pcp + no_truth
        fp, loc_itf = fp + no_prediction, loc_itf + no_prediction
    return HierarchicalCounts(
        tp=len(pairs),
        fp=fp,
        fn=fn,
        s2m=int((lost & true_candidate).sum()),
        m2s=int((false & predicted_candidate).sum()),
        loc_itf=loc_itf,
        loc_pcp=loc_pcp,
        **_segmentation(truth, predicted, pairs),
    )


def _segmentation(truth: Components, predicted: Components, pairs: NDArray[np.int64]) -> dict[str, float]:
    """Sums over the matched pairs of the four parts of their unions."""
    if not len(pairs):
        return {"seg": 0.0, "mrg": 0.0, "seg_itf": 0.0, "seg_pcp": 0.0}
    g, q = pairs[:, 0], pairs[:, 1]
    shared = overlaps(truth, predicted)
    common = shared[g, q]
    union = truth.area[g] + predicted.area[q] - common
    merged = shared.sum(axis=0)[q] - common
    parts = {
        "seg": common,
        "mrg": merged,
        "seg_itf": predicted.area[q] - common - merged,
        "seg_pcp": truth.area[g] - common,
    }
    return {name: fsum(pixels / union) for name, pixels in parts.items()}
