# SPDX-License-Identifier: Apache-2.0
"""Bootstrap intervals over images: one target more or less is a visible step on small sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pitviper.core.metrics.counts import CountTable
from pitviper.core.metrics.profiles import Profile
from pitviper.core.metrics.summary import Floats, summarise

# Bounds the memory of the sums over images, thresholds and distances; the result does not depend on it.
_CHUNK = 250


@dataclass(frozen=True)
class Interval:
    """Percentile interval; ``level`` is its nominal coverage."""

    low: float
    high: float
    level: float


def bootstrap_intervals(
    table: CountTable, profile: Profile, *, draws: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Percentile intervals of every metric that follows from counts (AUC and AP do not).

    Images are drawn with replacement, as many as there are. Draws in which a metric is undefined are left out of its
    interval, and a metric that is undefined in every draw has none.

    Raises:
        ValueError: ``draws`` is below 1 or ``level`` outside (0, 1).
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie in (0, 1), got {level}; 0.95 is usual")
    samples = _resample(table, profile, draws, seed)
    tails = [(1 - level) / 2, (1 + level) / 2]
    intervals = {}
    for name, values in samples.items():
        defined = values[~np.isnan(values)]
        if len(defined):
            low, high = np.quantile(defined, tails)
            intervals[name] = Interval(float(low), float(high), level)
    return intervals


def _resample(table: CountTable, profile: Profile, draws: int, seed: int) -> dict[str, Floats]:
    generator = np.random.default_rng(seed)
    shares = np.full(table.images, 1.0 / table.images)
    parts = []
    for start in range(0, draws, _CHUNK):
        weights = generator.multinomial(table.images, shares, size=min(_CHUNK, draws - start))
        parts.append(summarise(table, profile, weights.astype(np.float64)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
