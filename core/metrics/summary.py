# SPDX-License-Identifier: Apache-2.0
"""Every number that follows from counts, for the set itself or for many resampled sets at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitviper.core.metrics import pixel
from pitviper.core.metrics.counts import CountTable, weighted_sum
from pitviper.core.metrics.hse import SWEEP_THRESHOLDS, hse_parts
from pitviper.core.metrics.pixel import ratio
from pitviper.core.metrics.profiles import Profile

Floats = NDArray[np.float64]
FA_LIMITS = (1.0, 10.0, 100.0)
MEGA = 1e6


def summarise(table: CountTable, profile: Profile, weights: Floats | None = None) -> dict[str, Floats]:
    """All metrics of counts.

    Args:
        table: Counts of N images.
        profile: Conventions.
        weights: How often each image is drawn in each of B sets, float64 [B, N]; None is the set itself (B = 1).

    Returns:
        By name, float64 [B]; NaN where a metric is undefined.
    """
    return {
        **_pixel_metrics(table, profile, weights),
        **_target_metrics(table, profile, weights),
        **_hierarchical_metrics(table, weights),
        **(_sweep_metrics(table, profile, weights) if table.has_sweep else {}),
    }


def fa_per_mpix(false_pixels: Floats, frame_pixels: Floats) -> Floats:
    """False-alarm pixels in a million image pixels (papers print Fa x 1e-6)."""
    return MEGA * ratio(false_pixels, frame_pixels)


def frame_pixels(table: CountTable, profile: Profile, weights: Floats | None) -> Floats:
    """Pixels that Fa is divided by, float64 [B]."""
    if profile.frame_pixels is not None:
        each = np.full(table.images, profile.frame_pixels, np.int64)
    else:
        each = sum(
            (table[f"pixel_{name}"] for name in ("tp", "fp", "fn", "tn")), np.zeros(table.images, np.int64)
        )
    return weighted_sum(each, weights)


def _pixel_metrics(table: CountTable, profile: Profile, weights: Floats | None) -> dict[str, Floats]:
    tp, fp, fn, tn = (table.total(f"pixel_{name}", weights) for name in ("tp", "fp", "fn", "tn"))
    return {
        "iou": pixel.iou(tp, fp, fn),
        "niou": _niou(table, "pixel", profile, weights),
        "precision": pixel.precision(tp, fp, fn),
        "recall": pixel.recall(tp, fp, fn),
        "f1": pixel.f_beta(tp, fp, fn),
        "f_beta": pixel.f_beta(tp, fp, fn, profile.beta2),
        "fpr": pixel.false_positive_rate(fp, tn),
    }


def _niou(table: CountTable, part: str, profile: Profile, weights: Floats | None) -> Floats:
    """Mean IoU of single images by the rule of the profile for empty ones, float64 [B] or, for a sweep, [B, T]."""
    tp, fp, fn = (table[f"{part}_{name}"] for name in ("tp", "fp", "fn"))
    nothing = (tp + fp + fn) == 0
    each = np.where(nothing, 1.0 if profile.empty == "one" else 0.0, pixel.iou(tp, fp, fn))
    counted = ~nothing if profile.empty == "skip" else np.ones_like(nothing)
    return ratio(weighted_sum(each, weights), weighted_sum(counted.astype(np.int64), weights))


def _target_metrics(table: CountTable, profile: Profile, weights: Floats | None) -> dict[str, Floats]:
    names = ("true", "predicted", "matched", "false_pixels")
    true, predicted, matched, false_pixels = (table.total(f"target_{name}", weights) for name in names)
    pixels = frame_pixels(table, profile, weights)
    false, missed = predicted - matched, true - matched
    return {
        "pd": ratio(matched, true),
        "fa_per_mpix": fa_per_mpix(false_pixels, pixels),
        "false_objects_per_frame": false / table.images,
        "false_objects_per_mpix": MEGA * ratio(false, pixels),
        "target_precision": pixel.precision(matched, false, missed),
        "target_f1": pixel.f_beta(matched, false, missed),
    }


def _hierarchical_metrics(table: CountTable, weights: Floats | None) -> dict[str, Floats]:
    def total(name: str) -> Floats:
        return table.total(f"hierarchical_{name}", weights)

    tp = total("tp")
    objects = tp + total("fp") + total("fn")
    # Without a pair the parts of a union have no meaning: 0 as in the reference; without any object, undefined.
    without = np.where(objects > 0, 0.0, np.nan)
    parts = {name: ratio(total(name), tp, without) for name in ("seg", "mrg", "seg_itf", "seg_pcp")}
    loc = ratio(tp, objects)
    return {
        "hiou": np.where(objects > 0, parts["seg"] * loc, 1.0),
        "seg_iou": parts["seg"],
        "seg_merging": parts["mrg"],
        "seg_interference": parts["seg_itf"],
        "seg_perception": parts["seg_pcp"],
        "loc_iou": loc,
        "loc_single_to_multi": ratio(total("s2m"), objects),
        "loc_multi_to_single": ratio(total("m2s"), objects),
        "loc_interference": ratio(total("loc_itf"), objects),
        "loc_perception": ratio(total("loc_pcp"), objects),
    }


def _sweep_metrics(table: CountTable, profile: Profile, weights: Floats | None) -> dict[str, Floats]:
    pd = ratio(table.total("sweep_matched", weights), table.total("sweep_true", weights))
    fa = fa_per_mpix(
        table.total("sweep_false_pixels", weights), frame_pixels(table, profile, weights)[:, None]
    )
    pix, tgt = hse_parts(table, weights)
    fixed = {f"pd_at_fa_{limit:g}": pd_below(pd, fa, limit) for limit in FA_LIMITS}
    return {"hse": (pix + tgt) / 2, "hse_pix": pix, "hse_tgt": tgt, **fixed}


def pd_below(pd: Floats, fa: Floats, limit: float) -> Floats:
    """Largest Pd over the thresholds whose Fa lies below ``limit`` (pixels in a million), float64 [B].

    Args:
        pd: float64 [B, T]; NaN when there is no true target.
        fa: float64 [B, T], pixels in a million.
        limit: Fa must be smaller than this. Where no threshold is, Pd is 0.
    """
    result: Floats = np.where(fa < limit, pd, np.where(np.isnan(pd), np.nan, 0.0)).max(axis=1)
    return result


def sweep_curve(table: CountTable, profile: Profile) -> dict[str, Any]:
    """Fields of `SweepCurve` for a swept table."""

    def total(name: str) -> Floats:
        only: Floats = table.total(f"sweep_{name}", None)[0]
        return only

    true, predicted, matched = total("true"), total("predicted"), total("matched")
    return {
        "threshold": np.array(SWEEP_THRESHOLDS),
        "iou": pixel.iou(total("tp"), total("fp"), total("fn")),
        "niou": _niou(table, "sweep", profile, None)[0],
        "target_f1": ratio(2 * matched, true + predicted, 1.0),
        "fa_per_mpix": fa_per_mpix(total("false_pixels"), frame_pixels(table, profile, None)),
        "pd": ratio(matched, true) if true[0] else None,
    }
