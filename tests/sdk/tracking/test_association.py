# SPDX-License-Identifier: Apache-2.0
"""The assignment against trying everything."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import chi2

from pitviper.sdk.tracking import association

CLUTTER = 1e-5


def score(
    predicted: np.ndarray, spread: np.ndarray, xy: np.ndarray, gate: float
) -> dict[tuple[int, int], float]:
    """Ratio of every pair that may be made, straight from the two densities."""
    found = {}
    for t, d in itertools.product(range(len(predicted)), range(len(xy))):
        apart = xy[d] - predicted[t]
        distance = float(apart @ np.linalg.inv(spread[t]) @ apart)
        density = math.exp(-distance / 2) / (2 * math.pi * math.sqrt(np.linalg.det(spread[t])))
        if distance <= gate and density > CLUTTER:
            found[t, d] = math.log(density / CLUTTER)
    return found


def best_sum(pairs: dict[tuple[int, int], float], tracks: int) -> float:
    def best(track: int, taken: frozenset[int]) -> float:
        if track == tracks:
            return 0.0
        options = [best(track + 1, taken)]
        for (t, d), gain in pairs.items():
            if t == track and d not in taken:
                options.append(gain + best(track + 1, taken | {d}))
        return max(options)

    return best(0, frozenset())


@pytest.mark.parametrize("seed", range(40))
def test_sum_is_the_best_of_all_assignments(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tracks, found = rng.integers(0, 6), rng.integers(0, 6)
    predicted, xy = rng.uniform(0, 12, (tracks, 2)), rng.uniform(0, 12, (found, 2))
    factors = rng.normal(0, 1.5, (tracks, 2, 2))
    spread = factors @ factors.transpose(0, 2, 1) + 0.3 * np.eye(2)
    gate = association.gate_distance(0.99)
    pairs = score(predicted, spread, xy, gate)
    rows, columns = association.match(predicted, spread, xy, gate=gate, clutter_per_px=CLUTTER)
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == len(rows)
    made = list(zip(rows.tolist(), columns.tolist(), strict=True))
    assert all(pair in pairs for pair in made)
    assert sum(pairs[pair] for pair in made) == pytest.approx(best_sum(pairs, tracks), abs=1e-9)


@pytest.mark.parametrize("probability", [0.5, 0.9, 0.999])
def test_gate_is_the_quantile_of_chi_square(probability: float) -> None:
    assert association.gate_distance(probability) == pytest.approx(chi2.ppf(probability, 2), rel=1e-12)


def test_a_track_that_knows_nothing_claims_nothing() -> None:
    point = np.array([[50.0, 50.0]])
    for sigma, expected in ((20.0, 1), (400.0, 0)):
        spread = sigma**2 * np.eye(2)[None]
        rows, _ = association.match(point, spread, point, gate=13.8, clutter_per_px=CLUTTER)
        assert len(rows) == expected


def test_the_surer_track_gets_the_detection() -> None:
    predicted = np.array([[10.0, 10.0], [12.0, 10.0]])
    spread = np.stack([np.eye(2) * 25.0, np.eye(2) * 0.5])
    rows, _ = association.match(
        predicted, spread, np.array([[11.2, 10.0]]), gate=13.8, clutter_per_px=CLUTTER
    )
    assert rows.tolist() == [1], "by distance alone the vague track would have it"
