# SPDX-License-Identifier: Apache-2.0
"""The overlap and the shooting rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from pitviper.core.metrics.components import find_components
from pitviper.core.metrics.profiles import PROFILES
from pitviper.core.metrics.target import count_overlapping, count_shots, count_targets


def test_overlap_rule() -> None:
    truth, predicted = np.zeros((2, 12, 12), np.bool_)
    truth[2:4, 2:4] = truth[8, 8] = True
    predicted[3:6, 3:6] = True
    counts, background = count_overlapping(predicted, truth)
    assert (counts.true, counts.predicted, counts.matched, counts.false_pixels) == (2, 1, 1, 8)
    assert background == 144 - 5


@pytest.mark.parametrize(("offset", "hit", "false"), [(0, 1, 0), (1, 1, 0), (2, 0, 0), (4, 0, 0), (5, 0, 1)])
def test_shooting_rule(offset: int, hit: int, false: int) -> None:
    truth, predicted = np.zeros((2, 20, 20), np.bool_)
    truth[10, 10] = True
    predicted[10 + offset, 10 + offset] = True
    counts = count_shots(predicted, truth)
    assert (counts.matched, counts.false_pixels) == (hit, false)


def test_shooting_hits_two_targets_with_one_pixel() -> None:
    truth, predicted = np.zeros((2, 9, 9), np.bool_)
    truth[4, 3] = truth[4, 5] = predicted[4, 4] = True
    assert count_shots(predicted, truth).matched == 2


def test_fa_leaves_out_the_excess_of_a_match_and_takes_the_smaller_of_two_equal_candidates() -> None:
    truth, predicted = np.zeros((2, 16, 16), np.bool_)
    truth[8, 8] = True
    predicted[7:10, 6] = True
    predicted[8, 10] = True
    counts = count_targets(find_components(truth), find_components(predicted), PROFILES["ours"])
    assert (counts.matched, counts.false_pixels) == (1, 1)


def published_loop(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], *, by_area: bool
) -> tuple[int, int]:
    """(matched, false pixels) as the published toolboxes count them: nested loops over labelled regions."""
    regions = []
    for mask in (truth, predicted):
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        regions.append([np.argwhere(labels == index) for index in range(1, count + 1)])
    used: list[int] = []
    for target in regions[0]:
        for index, found in enumerate(regions[1]):
            if index not in used and np.linalg.norm(target.mean(axis=0) - found.mean(axis=0)) < 3:
                used.append(index)
                break
    areas = [len(found) for found in regions[1]]
    if by_area:
        return len(used), sum(area for area in areas if area not in [areas[index] for index in used])
    return len(used), sum(area for index, area in enumerate(areas) if index not in used)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.25))
def test_greedy_profiles_count_like_the_published_loops(seed: int, density: float) -> None:
    generator = np.random.default_rng(seed)
    truth = ndimage.binary_dilation(generator.random((16, 17)) < density / 4)
    predicted = np.roll(truth, generator.integers(-2, 3, 2), (0, 1)) ^ (generator.random((16, 17)) < density)
    true, found = find_components(truth), find_components(predicted)
    for name, by_area in (("pal", False), ("pyirstd", False), ("dnanet", True), ("mshnet", True)):
        counts = count_targets(true, found, PROFILES[name])
        assert (counts.matched, counts.false_pixels) == published_loop(truth, predicted, by_area=by_area)
