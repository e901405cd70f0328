# SPDX-License-Identifier: Apache-2.0
"""Sinks in threads of their own: no late answers, every result counted, errors heard of, an end in bounded time."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

import pytest

from pitviper import sdk
from pitviper.sdk.sinks import Background, Callback, OutputStats
from pitviper.sdk.sinks import background as module
from pitviper.sdk.sources import Frame


class Gate:
    """A sink that writes a result only when the test lets it."""

    def __init__(self) -> None:
        self.allowed = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.ids: list[int] = []
        self.closed = 0

    def write(self, frame: Frame, found: sdk.Detections) -> None:
        self.begun.release()
        assert self.allowed.acquire(timeout=60)
        self.ids.append(found.frame_id)

    def close(self) -> None:
        self.closed += 1

    def open(self) -> None:
        for _ in range(1000):
            self.allowed.release()


def reached(condition: Any, what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.002)


def test_a_full_queue_drops_the_oldest_and_counts_it(shots: list[Any]) -> None:
    sink = Gate()
    behind = Background(sink, depth=3)
    behind.write(*shots[0])
    assert sink.begun.acquire(timeout=60), "the first is in work, and not in the queue"
    for shot in shots[1:9]:
        behind.write(*shot)
    stats = behind.stats
    assert (stats.given, stats.written, stats.dropped, stats.waiting) == (9, 0, {"slow": 5}, 4)
    assert behind.name == "Gate"
    sink.open()
    behind.close()
    behind.close()
    assert sink.ids == [0, 6, 7, 8]
    assert sink.closed == 1
    stats = behind.stats
    assert (stats.written, stats.dropped, stats.waiting) == (4, {"slow": 5}, 0)
    with pytest.raises(sdk.SinkError, match="already closed"):
        behind.write(*shots[0])


def test_waiting_loses_nothing(shots: list[Any]) -> None:
    sink = Gate()
    behind = Background(sink, depth=1, when_full="wait")
    writer = threading.Thread(target=lambda: [behind.write(*shot) for shot in shots])
    writer.start()
    reached(lambda: behind.stats.given == 2, "one in work and one in the queue")
    assert writer.is_alive()
    sink.open()
    writer.join(60)
    behind.close()
    assert sink.ids == list(range(12))
    assert behind.stats == OutputStats(12, 12)


def test_an_error_of_the_sink_is_raised_at_the_next_result_and_the_rest_is_counted(shots: list[Any]) -> None:
    class Full(Gate):
        def write(self, frame: Frame, found: sdk.Detections) -> None:
            super().write(frame, found)
            if found.frame_id == 1:
                raise sdk.SinkError("no space")

    sink = Full()
    behind = Background(sink)
    for shot in shots[:5]:
        behind.write(*shot)
    sink.open()
    reached(lambda: behind.stats.waiting == 0, "the error")
    for _ in range(2):
        with pytest.raises(sdk.SinkError, match="no space"):
            behind.write(*shots[5])
    behind.close()
    assert sink.closed == 1
    assert behind.stats == OutputStats(5, 1, {"failed": 4})


def test_an_error_that_nobody_heard_of_is_raised_by_close(shots: list[Any]) -> None:
    def broken(frame: Frame, found: sdk.Detections) -> None:
        raise sdk.SinkError("no space")

    behind = Background(Callback(broken, on_error="raise"))
    behind.write(*shots[0])
    with pytest.raises(sdk.SinkError, match="no space"):
        behind.close()
    assert behind.stats == OutputStats(1, 0, {"failed": 1})


def test_a_sink_that_hangs_is_left_behind(shots: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(module, "_SLICE_S", 0.01)
    sink = Gate()
    behind = Background(sink)
    for shot in shots[:4]:
        behind.write(*shot)
    with pytest.raises(sdk.SinkError, match="left behind; 4 results are not written"):
        behind.close()
    assert behind.stats == OutputStats(4, 0, {"closed": 4})
    sink.open()
    reached(lambda: sink.ids == [0], "the write that hung")
    assert behind.stats == OutputStats(4, 0, {"closed": 4}), "what was given up is not counted twice"


def test_a_sink_that_is_let_go_keeps_no_thread(shots: list[Any]) -> None:
    sink, before = Gate(), threading.active_count()
    sink.open()
    behind = Background(sink)
    behind.write(*shots[0])
    assert threading.active_count() == before + 1
    del behind
    gc.collect()
    reached(lambda: threading.active_count() == before, "the thread to end")
    assert sink.ids == [0]


def test_arguments() -> None:
    with pytest.raises(sdk.InputError, match="at least 1"):
        Background(Gate(), depth=0)
    with pytest.raises(sdk.InputError, match="'drop' or 'wait'"):
        Background(Gate(), when_full="block")  # type: ignore[arg-type]
