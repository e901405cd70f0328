# SPDX-License-Identifier: Apache-2.0
"""`DriftWatch`: slow changes of a camera and of a detector's scores, as numbers: then against now. NumPy only.

Every eighth frame is looked at, in 64 of its rows. With d the second difference along a row, white noise of deviation
s has mean |d| = 0.7824 sqrt(6) s below 2.7 deviations; what stays in the running mean of d over many looks is fixed in
the picture, what does not is noise in time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections

__all__ = ["Change", "DriftStats", "DriftWatch"]

EVERY: Final = 8
"""One frame in so many is looked at."""
LOOKS: Final = 64
"""Looks of the reference (the first ones) and of the present (the last ones): 512 frames, 17 seconds at 30 Hz."""
ROWS: Final = 64
_MEAN_LOOKS: Final = 16
_LAG: Final = 8
_TO_DEVIATION: Final = 1.0 / (0.7824 * math.sqrt(6.0))
_NAMES: Final = ("noise_counts", "fixed_pattern_counts", "focus", "score")
_QUANTILES: Final = {"score_p50": 50, "score_p90": 90, "score_p99": 99}


@dataclass(frozen=True)
class Change:
    """One number then and now: medians over `LOOKS` looks each. `ratio` is now over reference, None without one."""

    reference: float
    now: float
    ratio: float | None


@dataclass(frozen=True)
class DriftStats:
    """What a `DriftWatch` knows.

    Attributes:
        looks: Frames that it has looked at.
        looks_needed: Looks that the reference still needs; before that there are no changes.
        changes: By name. ``noise_counts``: deviation of the noise in time. ``fixed_pattern_counts``: deviation of what
            stays in place from column to column (with a still camera the finest texture of the scene too).
            ``focus``: contrast between neighbours over contrast between pixels 8 apart, noise taken off, about 0.35
            for sharp edges and less for blurred ones; not there while the scene has no structure to judge by.
            ``score_p50``, ``score_p90``, ``score_p99``: quantiles of the highest probability of a frame.
    """

    looks: int
    looks_needed: int
    changes: Mapping[str, Change]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers by name, safe for JSON, rounded to six digits."""
        changes = {
            name: {
                key: None if value is None else float(f"{value:.6g}") for key, value in vars(change).items()
            }
            for name, change in self.changes.items()
        }
        return {"looks": self.looks, "looks_needed": self.looks_needed, "changes": changes}


class DriftWatch:
    """Watches frames of one size, in their order. To be used by one thread."""

    def __init__(self) -> None:
        self._frames = 0
        self._looks = 0
        self._mean: NDArray[np.float32] | None = None
        self._weight = 1.0
        self._reference = np.full((LOOKS, len(_NAMES)), np.nan)
        self._now = np.full((LOOKS, len(_NAMES)), np.nan)
        self._row: NDArray[np.float64] | None = None

    def see(self, pixels: NDArray[Any]) -> None:
        """Take in the next frame [H, W] of counts; seven of eight cost nothing."""
        self._row = None
        self._frames += 1
        if (self._frames - 1) % EVERY:
            return
        step = max(1, pixels.shape[0] // ROWS)
        values = pixels[::step][:ROWS].astype(np.float32)
        noise, fixed, focus = self._measured(values)
        place = self._looks % LOOKS
        row = self._reference[place] if self._looks < LOOKS else None
        self._now[place] = (noise, fixed, focus, np.nan)
        if row is not None:
            row[:] = self._now[place]
        self._row = self._now[place]
        self._looks += 1

    def rate(self, found: Detections) -> None:
        """Take in the result of the frame that was seen last."""
        row, self._row = self._row, None
        if row is None:
            return
        if found.probability is not None:
            row[3] = float(found.score_map.max())
        elif len(found):
            row[3] = float(found.score.max())
        if self._looks <= LOOKS:
            self._reference[self._looks - 1, 3] = row[3]

    def _measured(self, values: NDArray[np.float32]) -> tuple[float, float, float]:
        second = values[:, :-2] + values[:, 2:]
        second -= 2.0 * values[:, 1:-1]
        whole = _deviation(second)
        share = 1.0 / min(self._looks + 1, _MEAN_LOOKS)
        if self._mean is None:
            self._mean = second
        else:
            self._mean += share * (second - self._mean)
        # The sum of the squared weights says how much of the noise is left in the mean.
        self._weight = (1.0 - share) ** 2 * self._weight + share**2 if self._looks else 1.0
        if self._weight > 0.5:
            return whole, math.nan, _focus(values, whole)
        kept = max(0.0, _deviation(self._mean) ** 2 - self._weight * whole**2) / (1.0 - self._weight)
        kept = min(kept, whole**2)
        return math.sqrt(whole**2 - kept), math.sqrt(kept), _focus(values, whole)

    @property
    def stats(self) -> DriftStats:
        """Reference against now, as far as both are known."""
        changes: dict[str, Change] = {}
        if self._looks >= LOOKS:
            for index, name in enumerate(_NAMES[:3]):
                _add(changes, name, self._reference[:, index], self._now[:, index], 50)
            for name, quantile in _QUANTILES.items():
                _add(changes, name, self._reference[:, 3], self._now[:, 3], quantile)
        return DriftStats(self._looks, max(0, LOOKS - self._looks), changes)


def _add(changes: dict[str, Change], name: str, old: NDArray[Any], new: NDArray[Any], quantile: int) -> None:
    old, new = old[np.isfinite(old)], new[np.isfinite(new)]
    # Half of the looks must have a value, or the two say different things.
    if min(len(old), len(new)) < LOOKS // 2:
        return
    then, now = float(np.percentile(old, quantile)), float(np.percentile(new, quantile))
    changes[name] = Change(then, now, now / then if then > 0 else None)


def _deviation(second: NDArray[np.float32]) -> float:
    """Deviation of the white noise that would have these second differences; edges and targets are left out."""
    # Every third is enough for a mean over thousands, and takes a third of the time.
    sizes = np.abs(second[:, ::3])
    # 4 medians are 2.7 deviations: of noise less than 1 % lies beyond, of edges nearly all. Of what is left the mean,
    # because the median of whole counts is a whole number.
    kept = sizes[sizes <= 4.0 * np.median(sizes)]
    return float(kept.mean()) * _TO_DEVIATION


def _focus(values: NDArray[np.float32], noise: float) -> float:
    fine = float(np.mean(np.square(values[:, 1:] - values[:, :-1]))) - 2.0 * noise**2
    coarse = float(np.mean(np.square(values[:, _LAG:] - values[:, :-_LAG]))) - 2.0 * noise**2
    # Less structure than noise: the ratio would be that of two roundings.
    if coarse <= noise**2:
        return math.nan
    return math.sqrt(max(fine, 0.0) / coarse)
