# SPDX-License-Identifier: Apache-2.0
"""Means over seeds with intervals, and differences of runs that share everything but one setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

LEVEL = 0.95


def estimate(values: Sequence[float]) -> dict[str, Any]:
    """Mean and t interval of a few values; of a single one there is no interval.

    Returns:
        ``mean``, ``low`` and ``high`` (None for one value), ``count``.
    """
    numbers = np.asarray(values, np.float64)
    mean, count = float(numbers.mean()), len(numbers)
    if count < 2:
        return {"mean": mean, "low": None, "high": None, "count": count}
    half = float(student.ppf((1 + LEVEL) / 2, count - 1) * numbers.std(ddof=1) / np.sqrt(count))
    return {"mean": mean, "low": mean - half, "high": mean + half, "count": count}


def difference(ours: Mapping[int, float], base: Mapping[int, float]) -> dict[str, Any] | None:
    """`estimate` of ours minus base over the seeds that both have; None where they share none."""
    shared = sorted(ours.keys() & base.keys())
    return estimate([ours[seed] - base[seed] for seed in shared]) if shared else None
