# SPDX-License-Identifier: Apache-2.0
"""Cameras that go away and come back, clocks that run backwards, frames that come twice or too late."""

from __future__ import annotations

import errno
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.reconnect import ReconnectingSource, open_reconnecting
from pitviper.sdk.sources import Frame, FrameTime, open_source

from .conftest import Script, adds_up, picture, wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")

AT_ONCE = sdk.Reconnect(first_s=0.001, longest_s=0.001, give_up_s=None)
UNPLUGGED = OSError(errno.ENODEV, "No such device")


def reconnecting(*scripts: Any, policy: sdk.Reconnect = AT_ONCE) -> tuple[ReconnectingSource, list[Script]]:
    """A source whose opener makes a `Script` of each given script in turn; an exception is a failed attempt."""
    steps, opened = iter(scripts), []

    def opener() -> Script:
        step = next(steps)
        if isinstance(step, BaseException):
            raise step
        opened.append(Script(step))
        return opened[-1]

    return ReconnectingSource(opener, policy), opened


def test_a_camera_that_is_unplugged_and_back(detector: sdk.Detector) -> None:
    source, opened = reconnecting(
        [0, 1, 2, UNPLUGGED],
        UNPLUGGED,
        sdk.SourceError("no such camera"),
        [0, 1, sdk.SourceTimeout("silent")],
        [0, 1],
    )
    with detector.stream(source, mode="all") as stream:
        results = list(stream)
    assert [found.frame_id for found in results] == [*range(7)]
    again = [found.frame_id for found in results if "reconnected" in found.flags]
    assert again == [found.frame_id for found in results if "after_gap" in found.flags] == [3, 5]
    assert (stream.state, stream.stats.reconnects) == ("ended", 2)
    assert [one.closed_by for one in opened] == [["pitviper-capture"]] * 3
    assert adds_up(stream.stats, sum(one.given for one in opened))


def test_a_camera_that_opens_and_dies_at_once_is_given_up(detector: sdk.Detector) -> None:
    scripts = [[0, UNPLUGGED], *[[UNPLUGGED]] * 1000]
    source, opened = reconnecting(
        *scripts, policy=sdk.Reconnect(first_s=0.01, factor=2, longest_s=0.04, give_up_s=0.3)
    )
    stream = detector.stream(source)
    next(stream)
    with pytest.raises(sdk.SourceLost, match="No such device"):
        next(stream)
    assert (stream.state, source.recovering) == ("failed", True)
    assert 2 <= len(opened) <= 14, "the waits grow although it can be opened each time"
    assert adds_up(stream.stats, 1)


def test_the_waits_grow_up_to_their_limit() -> None:
    waits = sdk.Reconnect(first_s=0.5, factor=2, longest_s=3).waits()
    assert [next(waits) for _ in range(5)] == [0.5, 1, 2, 3, 3]
    for values in ({"first_s": 0}, {"longest_s": 0.1}, {"factor": 0.5}, {"give_up_s": 0}):
        with pytest.raises(sdk.InputError):
            sdk.Reconnect(**values)  # type: ignore[arg-type]


def test_what_is_wrong_at_the_start_is_told_at_once(detector: sdk.Detector) -> None:
    with pytest.raises(sdk.SourceError, match="no such camera"):
        reconnecting(sdk.SourceError("no such camera"))
    with pytest.raises(sdk.SourceError):
        detector.stream("rtsp://127.0.0.1:9/none", reconnect=AT_ONCE)


def test_a_bug_in_a_source_is_no_loss(detector: sdk.Detector) -> None:
    source, _ = reconnecting([0, ZeroDivisionError("bug")], [0])
    stream = detector.stream(source, mode="all")
    next(stream)
    with pytest.raises(ZeroDivisionError):
        next(stream)
    assert (stream.state, stream.stats.reconnects) == ("failed", 0)


def test_a_function_that_raises_and_comes_back(detector: sdk.Detector) -> None:
    calls = iter(range(100))

    def read() -> Any:
        number = next(calls)
        if number in (3, 4, 7):
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
        return None if number == 10 else picture(number)

    with detector.stream(read, mode="all", reconnect=AT_ONCE) as stream:
        results = list(stream)
    assert [found.frame_id for found in results] == [*range(7)]
    assert stream.stats.reconnects == 3
    assert [found.frame_id for found in results if "reconnected" in found.flags] == [3, 5]
    assert adds_up(stream.stats, 7)


def test_only_what_can_be_opened_again_is(detector: sdk.Detector) -> None:
    for spec in (iter([picture(0)]), [picture(0)]):
        with pytest.raises(sdk.InputError, match="cannot be opened again"):
            detector.stream(spec, reconnect=AT_ONCE)
    with open_source([picture(0)]) as opened, pytest.raises(sdk.InputError, match="pass its address"):
        detector.stream(opened, reconnect=AT_ONCE)
    assert not isinstance(open_reconnecting([picture(0)]), ReconnectingSource)


def test_stopping_while_it_waits_to_be_opened_again(detector: sdk.Detector) -> None:
    source, _ = reconnecting(
        [0, UNPLUGGED], policy=sdk.Reconnect(first_s=1000, longest_s=1000, give_up_s=None)
    )
    with detector.stream(source) as stream:
        next(stream)
        wait_until(lambda: stream.state == "reconnecting", "the loss to show")
        assert stream.read(0.01) is None
    assert stream.state == "closed"
    assert adds_up(stream.stats, 1)


def test_clocks_backwards_duplicates_and_late_frames(detector: sdk.Detector) -> None:
    def frame(index: int, sensor_ms: int) -> Frame:
        return Frame(picture(index), index, FrameTime.now(sensor_ms * 1_000_000))

    script = [
        frame(0, 1000),
        frame(1, 1040),
        frame(1, 1040),  # the same frame twice
        frame(3, 1120),
        frame(2, 1080),  # out of order
        frame(4, 1160),
        frame(5, 200),  # the clock went back for good
        frame(6, 240),
    ]
    source = Script(script)
    with detector.stream(source, mode="all", tracker=sdk.Tracker()) as stream:
        results = list(stream)
    assert [found.frame_id for found in results] == [0, 1, 1, 3, 2, 4, 5, 6], (
        "each frame that came is returned"
    )
    seen = [{"out_of_order", "time_repeated", "time_late"} & set(found.flags) for found in results]
    assert seen == [
        set(),
        set(),
        {"out_of_order", "time_repeated"},
        set(),
        {"out_of_order", "time_late"},
        set(),
        {"time_late"},
        set(),
    ]
    assert "tracks_ended" in results[6].flags
    assert stream.stats.flagged["out_of_order"] == 2
    assert adds_up(stream.stats, 8)


def test_frames_that_the_camera_lost_leave_a_gap_in_time(detector: sdk.Detector) -> None:
    script = [
        Frame(picture(number), number, FrameTime.now(40_000_000 * (number + (4 if number >= 20 else 0))))
        for number in range(30)
    ]
    results = list(detector.stream(Script(script), mode="all"))
    assert [found.frame_id for found in results if found.flags] == [20]
    assert results[20].flags == ("time_gap",)


def test_frames_whose_time_is_in_the_future_or_unknown(detector: sdk.Detector) -> None:
    script = [Frame(picture(n), n, FrameTime(None, 2**62 if n else 0, -(2**62))) for n in range(3)]
    results = list(detector.stream(Script(script), mode="all"))
    assert [found.frame_id for found in results] == [0, 1, 2]
    assert all(np.isfinite(found.timing.age_ms or 0) for found in results)


def test_a_slow_consumer_gets_the_newest_and_the_rest_is_counted(detector: sdk.Detector) -> None:
    seen: list[int] = []

    def ten_more() -> None:
        wait_until(lambda: 10 * len(seen) >= source.given, "the consumer")

    # Ten frames come while the consumer has one.
    source = Script(step for number in range(0, 200, 10) for step in (ten_more, *range(number, number + 10)))
    with detector.stream(source) as stream:
        for found in stream:
            behind = stream.stats.captured - 1 - found.frame_id
            seen.append(found.frame_id)
            # Wait until the next ten are there before taking one.
            wait_until(
                lambda: stream.stats.captured >= min(200, 10 * len(seen)) or stream.state == "ended",
                "ten frames",
            )
            assert behind <= 10
    assert seen == sorted(set(seen))
    assert stream.stats.processed == len(seen) <= 40
    assert stream.stats.dropped["newer"] == 200 - len(seen)
    assert adds_up(stream.stats, source.given)


def test_an_application_that_raises(detector: sdk.Detector) -> None:
    source = Script(range(50))

    def application() -> None:
        with detector.stream(source, mode="all") as kept:
            streams.append(kept)
            for found in kept:
                if found.frame_id == 4:
                    raise ZeroDivisionError

    streams: list[sdk.Stream] = []
    with pytest.raises(ZeroDivisionError):
        application()
    assert streams[0].state == "closed"
    assert streams[0].stats.processed == 5
    assert adds_up(streams[0].stats, source.given)


def test_a_hundred_cameras_opened_and_closed_leave_no_object(
    make_detector: Callable[..., sdk.Detector],
) -> None:
    detector = make_detector()
    left: list[weakref.ref[Any]] = []
    for turn in range(100):
        source = Script(range(5))
        with detector.stream(source, mode=("latest", "all", "fresh", "throughput")[turn % 4]) as stream:
            if turn % 2:
                next(stream)
        assert adds_up(stream.stats, source.given)
        left += [weakref.ref(stream), weakref.ref(source), weakref.ref(stream._feed)]
        del stream, source
    gc.collect()
    assert sum(one() is not None for one in left) == 0
