# SPDX-License-Identifier: Apache-2.0
"""The numbers of one evaluated set."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SweepCurve:
    """The set at each of T thresholds, float64 [T].

    ``pd`` is None when the set holds no true target. ``fa_per_mpix`` counts false-alarm pixels in a million. Pd is not
    monotone in the threshold, because components merge at low ones.
    """

    threshold: Floats
    iou: Floats
    niou: Floats
    target_f1: Floats
    fa_per_mpix: Floats
    pd: Floats | None


@dataclass(frozen=True)
class Curves:
    """What the plots show: threshold sweep, (FPR, TPR) and (recall, precision); None where undefined."""

    sweep: SweepCurve
    roc: tuple[Floats, Floats] | None
    precision_recall: tuple[Floats, Floats] | None


@dataclass(frozen=True)
class MetricsResult:
    """Metrics of one set at one threshold, and over thresholds where curves were asked for.

    All ratios lie in [0, 1]; a value that is undefined on this set, or was not asked for, is None. Definitions are in
    docs/metrics.md.

    Attributes:
        fa_per_mpix: False-alarm **pixels** in a million image pixels; papers print it as Fa x 1e-6.
        false_objects_per_frame: Unmatched predicted components for each image.
        false_objects_per_mpix: The same for a million image pixels.
        false_pixels: Pixels behind ``fa_per_mpix``.
        pd_at_fa: Largest Pd over thresholds whose Fa lies below the key ("1", "10", "100" pixels in a million).
    """

    profile: str
    threshold: float
    distance_px: float
    images: int
    targets: int
    found: int
    predicted: int
    false_pixels: int
    iou: float
    niou: float | None
    precision: float
    recall: float
    f1: float
    f_beta: float
    fpr: float
    pd: float | None
    fa_per_mpix: float
    false_objects_per_frame: float
    false_objects_per_mpix: float
    target_precision: float
    target_f1: float
    hiou: float
    seg_iou: float | None
    seg_merging: float | None
    seg_interference: float | None
    seg_perception: float | None
    loc_iou: float | None
    loc_single_to_multi: float | None
    loc_multi_to_single: float | None
    loc_interference: float | None
    loc_perception: float | None
    hse_version: str
    hse: float | None = None
    hse_pix: float | None = None
    hse_tgt: float | None = None
    auc: float | None = None
    ap: float | None = None
    pd_at_fa: dict[str, float | None] | None = None
    curves: Curves | None = None

    def to_dict(self, *, curves: bool = False) -> dict[str, Any]:
        """A dict of plain JSON values; the unit is in the key where it is not a ratio in [0, 1].

        Args:
            curves: Also add the points of the threshold sweep, by name, below ``"sweep"``.
        """
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "curves"}
        if plain["pd_at_fa"] is not None:
            plain["pd_at_fa"] = dict(plain["pd_at_fa"])
        if curves and self.curves is not None:
            sweep = self.curves.sweep
            points = {f.name: getattr(sweep, f.name) for f in fields(sweep)}
            plain["sweep"] = {name: None if v is None else v.tolist() for name, v in points.items()}
        return plain
