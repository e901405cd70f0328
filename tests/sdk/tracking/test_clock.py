# SPDX-License-Identifier: Apache-2.0
"""Times of frames: which clock, and what an impossible time means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.errors import InputError
from pitviper.sdk.sources import FrameTime
from pitviper.sdk.tracking.clock import Clock

At = Callable[..., sdk.Detections]


def stamp(sensor_s: float | None, host_s: float = 0.0) -> FrameTime:
    return FrameTime(None if sensor_s is None else round(sensor_s * 1e9), round(host_s * 1e9), 0)


def test_each_clock_reads_its_own_time(at: At) -> None:
    first, second = at([], 10, time=stamp(1.0, 7.0)), at([], 13, time=stamp(1.5, 7.1))
    for source, seconds in (("sensor", 0.5), ("host", 0.1), (30.0, 0.1)):
        clock = Clock(source, 1.0)  # type: ignore[arg-type]
        assert clock.step(first).kind == "first"
        step = clock.step(second)
        assert (step.kind, step.guessed) == ("forward", False)
        assert step.seconds == pytest.approx(seconds, abs=1e-9)


def test_a_given_time_goes_before_the_others(at: At) -> None:
    clock = Clock("sensor", 1.0)
    clock.step(at([], time=stamp(5.0)), 100.0)
    assert clock.step(at([], time=stamp(4.0)), 100.25).seconds == 0.25
    with pytest.raises(InputError, match="always or never"):
        clock.step(at([], time=stamp(6.0)))


@pytest.mark.parametrize(
    ("seconds", "kind"),
    [
        (10.04, "forward"),
        (10.0, "repeated"),
        (9.96, "late"),
        (9.5, "late"),
        (9.4, "restart"),
        (0.0, "restart"),
    ],
)
def test_what_a_time_means(at: At, seconds: float, kind: str) -> None:
    clock = Clock("sensor", 0.5)
    clock.step(at([], time=stamp(10.0)))
    assert clock.step(at([], time=stamp(seconds))).kind == kind
    newest = 10.0 if kind in ("repeated", "late") else seconds
    assert clock.now_s == newest


def test_a_missing_time_is_bridged_by_the_last_interval_and_only_then(at: At) -> None:
    clock = Clock("sensor", 0.5)
    with pytest.raises(InputError, match=r"clock=25\.0"):
        clock.step(at([], time=stamp(None)))
    with pytest.raises(InputError, match="no sensor time"):
        clock.step(at([], time=None))
    clock.step(at([], time=stamp(1.0)))
    with pytest.raises(InputError, match="no sensor time"):
        clock.step(at([], time=stamp(None)))
    clock.step(at([], time=stamp(1.04)))
    for number in (1, 2):
        step = clock.step(at([], time=stamp(None)))
        assert step.guessed
        assert step.seconds == pytest.approx(0.04)
        assert clock.now_s == pytest.approx(1.04 + 0.04 * number)
    assert not clock.step(at([], time=stamp(1.16))).guessed


@pytest.mark.parametrize("source", ["utc", 0.0, -25.0, float("nan"), float("inf"), True])
def test_no_such_clock(source: Any) -> None:
    with pytest.raises(InputError, match="clock must be"):
        Clock(source, 0.5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_time_that_is_none(at: At, value: float) -> None:
    with pytest.raises(InputError, match="finite"):
        Clock("sensor", 0.5).step(at([]), value)


def test_results_that_are_not_numbered_are_refused_by_a_clock_that_counts(
    detector: sdk.Detector, at: At
) -> None:
    """All results of `detect` have the number 0: without this no time would pass, and no track begin."""
    tracker, frame = sdk.Tracker(clock=25.0), np.zeros((40, 40), np.uint16)
    tracker.update(detector.detect(frame))
    with pytest.raises(InputError, match=r"numbered 0, .* clock=25 .*time_s=.*replace\(found, frame_id=n\)"):
        tracker.update(detector.detect(frame))
    numbered = sdk.Tracker(clock=25.0)
    for number in range(3):
        numbered.update(replace(detector.detect(frame), frame_id=number))
    assert numbered.stats.repeated == 0
    timed = sdk.Tracker(clock=25.0)
    assert [timed.update(at([]), time_s=0.0).flags for _ in range(2)][1] == ("time_repeated",)
