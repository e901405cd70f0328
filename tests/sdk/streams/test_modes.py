# SPDX-License-Identifier: Apache-2.0
"""What each mode does with frames that come faster, slower or together; counts, states and stopping."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk import feeds

from .conftest import Script, adds_up, number_of, picture, wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")


class Gate:
    """Lets a source go on when the test says so."""

    def __init__(self) -> None:
        self.reached, self._go = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self._go.wait(120)

    def open(self) -> None:
        self._go.set()


def test_fresh_keeps_the_order_and_drops_what_is_too_old(
    detector: sdk.Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(feeds, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def later(seconds: float) -> Callable[[], None]:
        return lambda: now.__setitem__(0, now[0] + seconds)

    gate = Gate()
    source = Script([0, 1, later(0.3), 2, later(0.3), 3, gate])
    with detector.stream(source, mode="fresh", max_age_s=0.5) as stream:
        assert gate.reached.wait(120)
        # 0 and 1 are 0.6 s old, 2 is 0.3 s old.
        first = next(stream)
        assert (first.frame_id, "after_gap" in first.flags) == (2, True)
        assert stream.stats.dropped == {"stale": 2}
        second = next(stream)
        assert (second.frame_id, second.flags) == (3, ())
        gate.open()
        assert list(stream) == []
    assert adds_up(stream.stats, source.given)


def test_fresh_drops_the_oldest_when_its_queue_is_full(detector: sdk.Detector) -> None:
    gate = Gate()
    source = Script([*range(7), gate])
    with detector.stream(source, mode="fresh", queue=3, max_age_s=1e6) as stream:
        assert gate.reached.wait(120)
        gate.open()
        assert [found.frame_id for found in stream] == [4, 5, 6]
    assert stream.stats.dropped == {"newer": 4}
    assert adds_up(stream.stats, 7)


def test_all_stops_the_reader_and_drops_nothing(detector: sdk.Detector) -> None:
    source = Script(range(9), live=True)
    with detector.stream(source, mode="all", queue=3) as stream:
        wait_until(lambda: stream.stats.captured == 3, "a full queue")
        assert next(stream).frame_id == 0
        wait_until(lambda: stream.stats.captured == 4, "room for one more")
        assert stream.stats.waiting == 3
        assert [found.frame_id for found in stream] == [*range(1, 9)]
    assert stream.stats.dropped == {}
    assert adds_up(stream.stats, 9)


@pytest.mark.parametrize("queue", [1, 3, 8])
def test_throughput_gives_what_one_at_a_time_gives(
    make_detector: Callable[..., sdk.Detector], engine: Any, queue: int
) -> None:
    frames = [picture(number, (40, 48) if number % 5 else (64, 64)) for number in range(20)]
    detector = make_detector()
    serial = list(detector.stream(frames, mode="all"))
    engine.shapes.clear()
    together = list(detector.stream(frames, mode="throughput", queue=queue))
    assert [found.frame_id for found in together] == [*range(20)]
    for one, two in zip(serial, together, strict=True):
        np.testing.assert_array_equal(one.xy, two.xy)
        np.testing.assert_array_equal(one.score, two.score)
        assert one.flags == two.flags
        assert (one.name, one.threshold, one.timing.age_ms) == (two.name, two.threshold, two.timing.age_ms)
    assert max(shape[0] for shape in engine.shapes) <= queue


def test_throughput_takes_together_what_has_gathered(detector: sdk.Detector, engine: Any) -> None:
    with detector.stream(Script(range(4)), mode="throughput", queue=4) as stream:
        wait_until(lambda: stream.stats.captured == 4, "a full queue")
        assert len(list(stream)) == 4
    assert [shape[0] for shape in engine.shapes] == [4]
    assert adds_up(stream.stats, 4)


@pytest.mark.parametrize("policy", ["raise", "skip"])
def test_a_bad_frame_in_a_batch_spoils_no_other(detector: sdk.Detector, policy: str) -> None:
    bad = np.full((40, 48), np.nan, np.float32)
    frames = [picture(0), bad, picture(2), picture(3)]
    stream = detector.stream(frames, mode="throughput", queue=4, on_error=policy)
    wait_until(lambda: stream.stats.captured == 4, "a full queue")
    if policy == "raise":
        assert next(stream).frame_id == 0
        with pytest.raises(sdk.InputError, match=r"frame 1: .*NaN"):
            next(stream)
        assert stream.stats.dropped == {"failed": 1, "closed": 2}
    else:
        results = list(stream)
        assert [found.frame_id for found in results] == [0, 2, 3]
        assert ["after_gap" in found.flags for found in results] == [False, True, False]
        assert stream.stats.dropped == {"refused": 1}
    assert adds_up(stream.stats, 4)


def test_frames_of_a_program_that_uses_its_memory_again_are_whole(detector: sdk.Detector) -> None:
    """The reader runs ahead of the detector, so a generator may overwrite what it has handed out."""
    memory = np.zeros((40, 48), np.uint16)

    def camera() -> Iterator[Any]:
        for number in range(12):
            memory[...] = picture(number)
            yield memory
        memory[...] = 0

    with detector.stream(camera(), mode="all") as stream:
        for expected, found in enumerate(stream):
            assert stream.frame is not None
            assert number_of(stream.frame.image) == expected
            assert found.xy.tolist() == [[9.5, 8.5 + expected % 20]]


def test_every_source_has_its_time_limit(detector: sdk.Detector) -> None:
    gate = Gate()
    stream = detector.stream(Script([0, gate], live=False), timeout_s=0.2)
    next(stream)
    threading.Timer(0.6, gate.open).start()
    with pytest.raises(sdk.SourceTimeout, match=r"0\.2 s"):
        next(stream)
    assert stream.state == "failed"


def test_states_while_a_camera_stalls_and_goes_on(detector: sdk.Detector) -> None:
    start, stall = Gate(), Gate()
    with detector.stream(Script([start, 0, stall, 1]), timeout_s=0.5) as stream:
        assert start.reached.wait(120)
        assert stream.state == "opening"
        assert stream.read(0.001) is None
        start.open()
        wait_until(lambda: (found := stream.read(0.01)) and found.frame_id == 0, "the first frame")
        wait_until(lambda: stream.state == "stalled", "the stall to show")
        stall.open()
        wait_until(lambda: (found := stream.read(0.01)) and found.frame_id == 1, "the second frame")
        assert stream.read(10) is None
        assert stream.state == "ended"


@pytest.mark.parametrize("drain", [True, False])
def test_stopping_from_another_thread(detector: sdk.Detector, drain: bool) -> None:
    gate = Gate()
    source = Script([0, 1, 2, gate, 3])
    stream = detector.stream(source, mode="all", queue=4)
    assert next(stream).frame_id == 0
    assert gate.reached.wait(120)
    thread = threading.Thread(target=stream.stop, kwargs={"drain": drain})
    thread.start()
    thread.join()
    gate.open()
    assert [found.frame_id for found in stream] == ([1, 2] if drain else [])
    assert stream.state == "closed"
    assert adds_up(stream.stats, source.given)
    assert source.closed_by == ["pitviper-capture"]


def test_a_stream_that_waits_is_woken_by_stop(detector: sdk.Detector) -> None:
    gate = Gate()
    stream = detector.stream(Script([gate]), timeout_s=100)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(stream))
    thread.start()
    assert gate.reached.wait(120)
    stream.stop()
    gate.open()
    thread.join(120)
    assert not thread.is_alive()
    assert (found, stream.state) == ([], "closed")


def test_a_stream_that_is_forgotten_lets_go_of_its_camera(detector: sdk.Detector) -> None:
    source = Script(range(100), live=True)
    stream = detector.stream(source, mode="all")
    next(stream)
    del stream
    wait_until(lambda: source.closed_by, "the source to be closed")


@pytest.mark.parametrize("error", [sdk.SinkError("no space left"), RuntimeError("bug")])
def test_an_error_counts_its_frame_as_failed_and_the_others_as_closed(
    detector: sdk.Detector, error: Exception
) -> None:
    class Failing:
        def write(self, frame: Any, found: Any) -> None:
            raise error

        def close(self) -> None:
            pass

    source = Script(range(5))
    stream = detector.stream(source, mode="throughput", queue=5, sinks=[Failing()])
    wait_until(lambda: stream.stats.captured == 5, "a full queue")
    with pytest.raises(type(error)):
        next(stream)
    assert stream.stats.dropped == {"failed": 1, "closed": 4}
    assert adds_up(stream.stats, source.given)


def test_counts_can_be_read_at_any_time_from_any_thread(detector: sdk.Detector) -> None:
    stop, wrong = threading.Event(), []

    def look() -> None:
        before = 0
        while not stop.wait(0.001):
            stats = stream.stats
            stats.to_dict()
            if stats.captured < before or stats.waiting < 0 or stats.waiting > 4:
                wrong.append(stats)
            before = stats.captured

    stream = detector.stream(Script(range(60)), mode="all")
    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    ids = [found.frame_id for found in stream]
    stop.set()
    for thread in threads:
        thread.join()
    assert ids == [*range(60)]
    assert wrong == []


def test_settings_that_do_not_belong_to_the_mode_are_refused(detector: sdk.Detector) -> None:
    for values in (
        {"queue": 0},
        {"queue": 4},
        {"queue": 4, "mode": "latest"},
        {"max_age_s": 1.0},
        {"max_age_s": 0.0, "mode": "fresh"},
        {"reconnect": 3},
    ):
        with pytest.raises(sdk.InputError, match=next(iter(values))):
            detector.stream(Script([]), **values)  # type: ignore[arg-type]
