# SPDX-License-Identifier: Apache-2.0
"""However slow the consumer, a live result is no older than one inference and two frame periods."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from pitviper import sdk
from pitviper.sdk import frame_path
from pitviper.sdk.sources import Frame, FrameTime

from .conftest import Script, adds_up, picture, wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")

PERIOD_NS = 33_000_000
INFERENCE_NS = 21_000_000


class Clock:
    """Time that only the test moves."""

    def __init__(self) -> None:
        self.now_ns = 10**9


def test_age_with_a_consumer_ten_times_slower_than_the_camera(
    make_detector: Callable[..., sdk.Detector], monkeypatch: pytest.MonkeyPatch, engine: Any
) -> None:
    clock, run = Clock(), engine.run

    def slow_network(frames: Any) -> Any:
        clock.now_ns += INFERENCE_NS
        return run(frames)

    engine.run = slow_network
    monkeypatch.setattr(
        frame_path,
        "time",
        SimpleNamespace(monotonic_ns=lambda: clock.now_ns, perf_counter_ns=time.perf_counter_ns),
    )

    def camera() -> Iterator[Any]:
        due = clock.now_ns
        for number in range(300):
            # A frame is there when its time has come, and the time comes when the consumer lets it.
            wait_until(lambda due=due: clock.now_ns >= due, "the time of the frame")
            yield Frame(picture(number), number, FrameTime(due, due, 0))
            due += PERIOD_NS

    source = Script(camera())
    with make_detector().stream(source) as stream:
        ages = []
        for found in stream:
            ages.append((found.timing.age_ms or 0.0, found.frame_id))
            # Ten periods pass while the application does something else, one camera frame after the other.
            for _ in range(10):
                clock.now_ns += PERIOD_NS
                behind = (clock.now_ns - 10**9) // PERIOD_NS
                wait_until(
                    lambda behind=behind: stream.stats.captured > min(behind, 299) or stream.state == "ended",
                    "the camera",
                )
    assert len(ages) >= 20
    # The last frame waits while no newer one comes.
    assert max(age for age, number in ages if number < 299) <= (INFERENCE_NS + 2 * PERIOD_NS) / 1e6
    assert min(age for age, _ in ages) >= INFERENCE_NS / 1e6
    assert stream.stats.dropped["newer"] == 300 - len(ages)
    assert adds_up(stream.stats, 300)


def test_in_mode_all_the_age_grows_so_the_bound_says_something(
    make_detector: Callable[..., sdk.Detector], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(
        frame_path,
        "time",
        SimpleNamespace(monotonic_ns=lambda: clock.now_ns, perf_counter_ns=time.perf_counter_ns),
    )
    frames = [Frame(picture(n), n, FrameTime(n, 10**9 + n * PERIOD_NS, 0)) for n in range(30)]
    ages = []
    for found in make_detector().stream(Script(frames), mode="all"):
        clock.now_ns += 10 * PERIOD_NS
        ages.append(found.timing.age_ms)
    assert ages[-1] > 200 * PERIOD_NS / 1e6
