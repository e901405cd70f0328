# SPDX-License-Identifier: Apache-2.0
"""The drift watch: each number answers to its own cause and to no other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from pitviper import sdk
from pitviper.sdk.drift import EVERY, LOOKS, DriftWatch
from pitviper.sdk.maps import ProbabilityMap

SHAPE = (96, 160)
PERIOD = EVERY * LOOKS


def scene(seed: int = 0) -> NDArray[Any]:
    """Blocks with sharp edges of 60 counts: structure to focus on, in one of sixteen second differences."""
    blocks = np.random.default_rng(seed).normal(0, 60, (12, 5))
    return 7000 + np.kron(blocks, np.ones((8, 32)))


def frames(
    count: int,
    *,
    noise: float = 8.0,
    pattern: float = 0.0,
    blur: float = 0.0,
    gain: float = 1.0,
    seed: int = 0,
) -> Iterator[NDArray[np.uint16]]:
    """Only those that are looked at differ; the others are skipped over by the watch."""
    rng = np.random.default_rng(seed)
    still = scene()
    if blur:
        still = ndimage.gaussian_filter(still, blur)
    fixed = np.random.default_rng(99).normal(0, pattern, SHAPE) if pattern else 0.0
    frame = None
    for index in range(count):
        if index % EVERY == 0 or frame is None:
            frame = (gain * (still + fixed + rng.normal(0, noise, SHAPE))).astype(np.uint16)
        yield frame


def watched(**then_and_now: tuple[float, float]) -> dict[str, float | None]:
    """The ratios after a reference with the first values and a present with the second."""
    watch = DriftWatch()
    for place in (0, 1):
        values = {name: pair[place] for name, pair in then_and_now.items()}
        for frame in frames(PERIOD, seed=place + 1, **values):
            watch.see(frame)
    return {name: change.ratio for name, change in watch.stats.changes.items()}


def test_more_noise_is_told_by_how_much() -> None:
    ratios = watched(noise=(8.0, 12.0))
    # The deviation of a median of 64 looks at 5,000 differences each is far below 3 %.
    assert ratios["noise_counts"] == pytest.approx(1.5, rel=0.03)
    assert ratios["focus"] == pytest.approx(1.0, rel=0.05)


def test_a_grown_fixed_pattern_is_not_noise() -> None:
    ratios = watched(pattern=(4.0, 8.0))
    # The running mean forgets the old pattern within 16 looks or so of the 64.
    assert ratios["fixed_pattern_counts"] == pytest.approx(2.0, rel=0.15)
    assert ratios["noise_counts"] == pytest.approx(1.0, rel=0.1)


def test_a_lost_focus_is_seen() -> None:
    ratios = watched(blur=(0.0, 1.5))
    assert ratios["focus"] is not None
    assert ratios["focus"] < 0.75
    assert ratios["noise_counts"] == pytest.approx(1.0, rel=0.05)


def test_gain_scales_counts_and_leaves_focus() -> None:
    ratios = watched(gain=(1.0, 3.0))
    assert ratios["noise_counts"] == pytest.approx(3.0, rel=0.05)
    assert ratios["focus"] == pytest.approx(1.0, rel=0.05)


def test_nothing_changed_is_a_ratio_of_one() -> None:
    ratios = watched(noise=(8.0, 8.0), pattern=(5.0, 5.0))
    assert set(ratios) == {"noise_counts", "fixed_pattern_counts", "focus"}
    for name, ratio in ratios.items():
        assert ratio == pytest.approx(1.0, rel=0.05), name


def test_the_values_are_the_deviations_in_counts() -> None:
    watch = DriftWatch()
    for frame in frames(PERIOD, noise=8.0, pattern=5.0):
        watch.see(frame)
    changes = watch.stats.changes
    assert changes["noise_counts"].now == pytest.approx(8.0, rel=0.1)
    # Block edges are structure that stays in place too, hence the wider allowance.
    assert changes["fixed_pattern_counts"].now == pytest.approx(5.0, rel=0.2)


def test_scores_that_fall_are_seen() -> None:
    watch = DriftWatch()
    for place, height in enumerate((0.8, 0.4)):
        for frame in frames(PERIOD, seed=place):
            watch.see(frame)
            probability = np.full(SHAPE, height, np.float32)
            watch.rate(sdk.Detections.empty(SHAPE, probability=ProbabilityMap(probability, 0.9)))
    change = watch.stats.changes["score_p50"]
    assert (change.reference, change.now) == (pytest.approx(0.8), pytest.approx(0.4))


def test_a_flat_scene_has_no_focus_and_a_short_one_no_changes() -> None:
    watch = DriftWatch()
    rng = np.random.default_rng(0)
    for index in range((LOOKS - 1) * EVERY + 1):
        assert watch.stats.changes == {}
        assert watch.stats.looks_needed == LOOKS - -(-index // EVERY)
        watch.see(rng.normal(7000, 9, (64, 64)).astype(np.uint16))
    assert "focus" not in watch.stats.changes
    json.dumps(watch.stats.to_dict(), allow_nan=False)


def test_the_monitor_carries_it_into_the_stats(detector: sdk.Detector) -> None:
    monitor = sdk.ThermalMonitor()
    with detector.stream(frames(2 * EVERY), monitor=monitor) as stream:
        list(stream)
    told = monitor.stats.to_dict()["drift"]
    # The other seven of eight frames are repeats here, which the monitor does not look at.
    assert told["looks"] == 1
    assert told["looks_needed"] == LOOKS - 1
