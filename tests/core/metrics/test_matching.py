# SPDX-License-Identifier: Apache-2.0
"""Matchings against exhaustive search, and the boundary of the distance rule."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from pitviper.core.metrics.components import Components, find_components
from pitviper.core.metrics.matching import (
    centroid_distances,
    closer_than,
    match_greedy,
    match_minsum,
    match_optimal,
)

seeds = st.integers(0, 2**32 - 1)


def exhaustive(distances: NDArray[np.float64], allowed: NDArray[np.bool_]) -> tuple[int, float]:
    """Largest number of pairs, and the smallest total distance with that number."""
    rows, columns = distances.shape
    for size in range(min(rows, columns), 0, -1):
        totals = [
            sum(distances[g, q] for g, q in zip(chosen, order, strict=True))
            for chosen in combinations(range(rows), size)
            for order in permutations(range(columns), size)
            if all(allowed[g, q] for g, q in zip(chosen, order, strict=True))
        ]
        if totals:
            return size, min(totals)
    return 0, 0.0


@settings(max_examples=150, deadline=None)
@given(seeds, st.integers(1, 4), st.integers(1, 4), st.floats(0, 1))
def test_match_optimal_equals_exhaustive_search(seed: int, rows: int, columns: int, density: float) -> None:
    generator = np.random.default_rng(seed)
    distances = generator.uniform(0, 5, (rows, columns))
    allowed = generator.random((rows, columns)) < density
    pairs = match_optimal(distances, allowed)
    size, total = exhaustive(distances, allowed)
    assert len(pairs) == size
    assert allowed[pairs[:, 0], pairs[:, 1]].all()
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == size
    # Four summands below 5: the order of addition moves the last bits only.
    assert distances[pairs[:, 0], pairs[:, 1]].sum() == pytest.approx(total, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(5, 60), st.integers(5, 60), st.floats(0.01, 0.3))
def test_match_optimal_has_maximum_cardinality(seed: int, rows: int, columns: int, density: float) -> None:
    """Many objects and long allowed distances, where a forbidden cost that is too small would lose pairs."""
    generator = np.random.default_rng(seed)
    distances = generator.choice([0.0, 1e-6, 1.0, 1e3], (rows, columns))
    allowed = generator.random((rows, columns)) < density
    best = maximum_bipartite_matching(csr_array(allowed.astype(np.int8)), perm_type="column")
    assert len(match_optimal(distances, allowed)) == int((best >= 0).sum())


def test_match_optimal_prefers_more_pairs_over_short_distance() -> None:
    distances = np.array([[0.0, 2.9], [2.9, 9.0]])
    assert match_optimal(distances, distances < 3).tolist() == [[0, 1], [1, 0]]


def test_match_optimal_breaks_ties_by_preference() -> None:
    distances, allowed = np.ones((1, 3)), np.ones((1, 3), np.bool_)
    for best in range(3):
        preference = np.eye(3)[best][None]
        assert match_optimal(distances, allowed, preference=preference).tolist() == [[0, best]]


def test_match_greedy_takes_the_first_not_the_nearest() -> None:
    allowed = np.array([[True, True], [True, False]])
    assert match_greedy(allowed).tolist() == [[0, 0]]
    assert match_greedy(np.zeros((2, 0), np.bool_)).tolist() == []


def test_match_minsum_ignores_what_is_allowed() -> None:
    distances = np.array([[4.0, np.sqrt(8)], [np.sqrt(5), 1.0]])
    assert match_minsum(distances).tolist() == [[0, 0], [1, 1]]


def at(area: int, sum_y: int, sum_x: int) -> Components:
    """A component that is known by its area and sums only."""
    nothing = np.zeros(0, np.int64)
    return Components((1, 1), np.array([area]), np.array([[sum_y, sum_x]]), nothing, nothing)


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 60), st.integers(0, 20_000), st.integers(0, 20_000), st.sampled_from([(3, 0), (0, -3)]))
def test_a_distance_of_exactly_three_is_never_close(area: int, y: int, x: int, step: tuple[int, int]) -> None:
    """Centroids are thirds, sevenths and so on, so floating point puts many of these pairs just below 3."""
    truth = at(area, y, x)
    predicted = at(2 * area, 2 * (y + step[0] * area), 2 * (x + step[1] * area))
    assert not closer_than(truth, predicted, 3.0).any()
    nearer = at(
        2 * area, 2 * (y + step[0] * area) - np.sign(step[0]), 2 * (x + step[1] * area) - np.sign(step[1])
    )
    assert closer_than(truth, nearer, 3.0).all()


def test_the_floating_point_trap_exists() -> None:
    """Without the integer decision some exact threes would be taken for less: what the test above protects from."""
    trapped = sum(
        float(centroid_distances(at(area, y, 0), at(area, y + 3 * area, 0))[0, 0]) < 3.0
        for area in (3, 7, 49)
        for y in range(1, 400)
    )
    assert trapped > 0


def test_distances_of_nothing() -> None:
    empty, one = find_components(np.zeros((4, 4), np.bool_)), find_components(np.eye(4, dtype=np.bool_))
    assert centroid_distances(empty, one).shape == (0, 1)
    assert closer_than(one, empty, 3.0).shape == (1, 0)
