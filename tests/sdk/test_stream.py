# SPDX-License-Identifier: Apache-2.0
"""Streams: order, counts, the newest frame, sinks that are closed whatever happens, flat memory."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.stream_stats import StageWindow


@dataclass
class ListSource:
    """Frames from an iterator, with what `Stream` asks of a source."""

    images: Any
    live: bool = False
    closed: int = 0
    closed_by: list[str] = field(default_factory=list)

    @property
    def info(self) -> Any:
        return SimpleNamespace(live=self.live)

    def __iter__(self) -> Iterator[Any]:
        for index, image in enumerate(self.images):
            time = SimpleNamespace(sensor_ns=index * 10, host_ns=None, utc_ns=None)
            yield SimpleNamespace(image=image, index=index, time=time, name=f"f{index}.png", flags=("lossy",))

    def close(self) -> None:
        self.closed += 1
        self.closed_by.append(threading.current_thread().name)


@dataclass
class Recorder:
    """A sink that remembers what it was given."""

    fail_at: int | None = None
    error: BaseException | None = None
    ids: list[int] = field(default_factory=list)
    closed: int = 0

    def write(self, frame: Any, detections: sdk.Detections) -> None:
        assert frame.index == detections.frame_id
        if self.fail_at == frame.index and self.error is not None:
            raise self.error
        self.ids.append(frame.index)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def frames(plant: Callable[..., Any]) -> list[Any]:
    return [plant((40, 48), {(5 + i, 9): 2}, seed=i) for i in range(12)]


def balanced(stats: Any) -> bool:
    return bool(stats.captured == stats.processed + sum(stats.dropped.values()) + stats.waiting)


def test_all_frames_in_order_each_once(detector: sdk.Detector, frames: list[Any]) -> None:
    source, sink = ListSource(frames), Recorder()
    stream = detector.stream(source, sinks=[sink])
    found = list(stream)
    assert [item.frame_id for item in found] == sink.ids == list(range(12))
    for index, item in enumerate(found):
        assert item.xyxy.tolist() == [[9, 5 + index, 11, 7 + index]]
        assert item.name == f"f{index}.png"
        assert item.time is not None
        assert item.time.sensor_ns == index * 10
        assert "lossy" in item.flags
        assert item.timing.age_ms is None
    assert (stream.state, source.closed, sink.closed) == ("ended", 1, 1)
    stats = stream.stats
    assert (stats.captured, stats.processed, stats.dropped) == (12, 12, {})
    assert set(stats.stages) == {"wait_ms", "standardise_ms", "network_ms", "extract_ms", "total_ms"}
    assert list(stream) == []


def test_every_nth_frame_and_the_rest_is_counted(detector: sdk.Detector, frames: list[Any]) -> None:
    stream = detector.stream(ListSource(frames), every=5)
    assert [item.frame_id for item in stream] == [0, 5, 10]
    assert stream.stats.dropped == {"every": 9}
    assert balanced(stream.stats)


def test_the_newest_frame_is_taken_and_the_others_are_counted(
    detector: sdk.Detector, frames: list[Any]
) -> None:
    delivered, go = threading.Event(), threading.Event()

    def camera() -> Iterator[Any]:
        yield frames[0]
        go.wait(20)
        yield from frames[1:6]
        delivered.set()

    source, sink = ListSource(camera(), live=True), Recorder()
    with detector.stream(source, sinks=[sink]) as stream:
        assert next(stream).frame_id == 0
        go.set()
        assert delivered.wait(20)
        assert [item.frame_id for item in stream] == [5]
    assert sink.ids == [0, 5]
    assert stream.stats.captured == 6
    assert stream.stats.dropped == {"newer": 4}
    assert stream.state == "ended"
    assert source.closed_by == ["pitviper-capture"], "only the thread that reads the source may close it"


def test_leaving_early_counts_the_waiting_frame(detector: sdk.Detector, frames: list[Any]) -> None:
    sink, source = Recorder(), ListSource(frames, live=True)
    with detector.stream(source, sinks=[sink]) as stream:
        next(stream)
    assert stream.state == "closed"
    assert (sink.closed, source.closed) == (1, 1)
    assert balanced(stream.stats)
    assert stream.stats.waiting == 0


def test_a_silent_camera_times_out(detector: sdk.Detector, frames: list[Any]) -> None:
    release = threading.Event()

    def camera() -> Iterator[Any]:
        yield frames[0]
        release.wait(20)

    sink = Recorder()
    stream = detector.stream(ListSource(camera(), live=True), sinks=[sink], timeout_s=0.2)
    next(stream)
    threading.Timer(0.6, release.set).start()
    with pytest.raises(sdk.SourceTimeout, match=r"0\.2 s"):
        next(stream)
    assert (stream.state, sink.closed) == ("failed", 1)


def test_a_silent_camera_times_out_for_a_program_that_polls(
    detector: sdk.Detector, frames: list[Any]
) -> None:
    """Each call asks anew, and none of them waits as long as the limit."""
    release = threading.Event()

    def camera() -> Iterator[Any]:
        yield frames[0]
        release.wait(120)

    stream = detector.stream(ListSource(camera(), live=True), timeout_s=0.2)
    assert stream.read(60) is not None
    with pytest.raises(sdk.SourceTimeout, match=r"0\.2 s"):
        polled(stream)
    release.set()
    stream.close()


def polled(stream: sdk.Stream) -> None:
    for _ in range(10_000):
        assert stream.read(0.01) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"sinks": [print]},
            "is no sink, which has write and close; wrap a function in pitviper.sdk.sinks.Callback",
        ),
        ({"sinks": ["out.jsonl"]}, "'out.jsonl' is no sink"),
        ({"sinks": "out.jsonl"}, "sinks is a sequence of sinks"),
        ({"tracker": sdk.Tracker}, "tracker has no update: got .*Tracker.*sdk"),
        ({"tracker": "bytetrack"}, "tracker has no update: got 'bytetrack'"),
        ({"monitor": True}, "monitor has no observe: got True"),
    ],
)
def test_what_is_no_sink_and_no_tracker_is_refused_at_once(
    detector: sdk.Detector, frames: list[Any], options: dict[str, Any], message: str
) -> None:
    source = ListSource(frames, live=True)
    with pytest.raises(sdk.InputError, match=message):
        detector.stream(source, **options)


@pytest.mark.parametrize("live", [False, True])
def test_what_the_source_raises_arrives_after_the_frames_before_it(
    detector: sdk.Detector, frames: list[Any], live: bool
) -> None:
    def broken() -> Iterator[Any]:
        yield frames[0]
        raise sdk.SourceError("frame_001.png: cannot be decoded")

    source, sink = ListSource(broken(), live=live), Recorder()
    stream = detector.stream(source, sinks=[sink])
    next(stream)
    with pytest.raises(sdk.SourceError, match=r"frame_001\.png"):
        next(stream)
    assert (sink.ids, sink.closed, source.closed, stream.state) == ([0], 1, 1, "failed")


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), sdk.SinkError("no space left"), MemoryError()],
    ids=lambda e: type(e).__name__,
)
def test_outputs_are_closed_whatever_stops_the_stream(
    detector: sdk.Detector, frames: list[Any], error: BaseException, live: bool
) -> None:
    first, failing, last = Recorder(), Recorder(fail_at=2, error=error), Recorder()
    source = ListSource(frames[:3] if not live else frames[2:3] * 3, live=live)
    stream = detector.stream(source, sinks=[first, failing, last], mode="all")
    with pytest.raises(type(error)):
        list(stream)
    assert [sink.closed for sink in (first, failing, last)] == [1, 1, 1]
    assert (first.ids, failing.ids, source.closed) == ([0, 1, 2], [0, 1], 1)
    assert stream.stats.dropped == {"failed": 1}
    assert balanced(stream.stats)


def test_an_interrupt_in_the_body_closes_the_outputs(detector: sdk.Detector, frames: list[Any]) -> None:
    sink = Recorder()

    def application() -> None:
        with detector.stream(ListSource(frames), sinks=[sink]) as stream:
            for _ in stream:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        application()
    assert sink.closed == 1


def test_one_bad_output_does_not_keep_the_others_open(detector: sdk.Detector, frames: list[Any]) -> None:
    bad, good = Recorder(), Recorder()
    bad.close = lambda: (_ for _ in ()).throw(sdk.SinkError("disk full"))  # type: ignore[method-assign]
    with pytest.raises(sdk.SinkError, match="disk full"):
        list(detector.stream(ListSource(frames), sinks=[bad, good]))
    assert good.closed == 1


def test_a_frame_that_is_none_is_named(detector: sdk.Detector, frames: list[Any]) -> None:
    bad = np.full((40, 48), np.nan, np.float32)
    sink = Recorder()
    with pytest.raises(sdk.InputError, match=r"frame 1 \(f1\.png\): .*1920 NaN"):
        list(detector.stream(ListSource([frames[0], bad, frames[1]]), sinks=[sink]))
    assert (sink.ids, sink.closed) == ([0], 1)


def test_bad_frames_are_skipped_and_counted_where_that_was_asked_for(
    detector: sdk.Detector, frames: list[Any]
) -> None:
    bad = np.full((40, 48), np.nan, np.float32)
    source, sink = ListSource([frames[0], bad, np.zeros((2, 2), np.uint8), frames[1]]), Recorder()
    source.skipped = 3  # type: ignore[attr-defined]
    stream = detector.stream(source, sinks=[sink], on_error="skip")
    assert [item.frame_id for item in stream] == sink.ids == [0, 3]
    assert stream.stats.dropped == {"refused": 2, "unreadable": 3}
    assert stream.stats.captured == 7
    assert balanced(stream.stats)


def test_a_source_that_gives_up_is_not_skipped(detector: sdk.Detector, frames: list[Any]) -> None:
    def broken() -> Iterator[Any]:
        yield frames[0]
        raise sdk.InputError("the second is no frame")

    stream = detector.stream(ListSource(broken()), on_error="skip")
    next(stream)
    with pytest.raises(sdk.InputError, match="the second"):
        next(stream)
    assert balanced(stream.stats)


def test_settings_out_of_range_are_refused_and_outputs_closed(detector: sdk.Detector) -> None:
    for values in ({"mode": "some"}, {"every": 0}, {"timeout_s": 0}, {"threshold": 3}, {"on_error": "hide"}):
        with pytest.raises(sdk.InputError, match=next(iter(values))):
            detector.stream(ListSource([]), **values)  # type: ignore[arg-type]
    sink = Recorder()
    with pytest.raises(sdk.InputError):
        detector.stream(ListSource([]), sinks=[sink], mode="some")
    assert sink.closed == 1


def test_the_score_map_is_let_go_and_the_mask_stays(detector: sdk.Detector, frames: list[Any]) -> None:
    stream = detector.stream(ListSource(frames))
    first = next(stream)
    before, mask = first.score_map.copy(), first.mask
    next(stream)
    with pytest.raises(sdk.InputError, match="keep_maps=True"):
        _ = first.score_map
    np.testing.assert_array_equal(first.mask, mask)
    assert mask.sum() == 4
    kept, *_ = detector.stream(ListSource(frames), keep_maps=True)
    np.testing.assert_array_equal(kept.score_map, before)


def test_memory_is_flat(detector: sdk.Detector, plant: Callable[..., Any]) -> None:
    image = plant((64, 64), {(20, 20): 2})
    stream = detector.stream(ListSource(image for _ in range(650)))
    ids = []
    levels = []
    tracemalloc.start()
    try:
        for item in stream:
            ids.append(item.frame_id)
            if item.frame_id in (200, 600):
                levels.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert ids == list(range(650))
    # The list of 400 numbers takes 16 kB; one forgotten map a frame would take 6.5 MB, one forgotten result 350 kB.
    assert levels[1] - levels[0] < 80_000


def test_the_window_of_times_does_not_grow() -> None:
    window = StageWindow(size=10)
    for index in range(25):
        window.add(sdk.Timing(total_ms=float(index)))
    spread = window.spreads()["total_ms"]
    assert (spread.max, spread.median) == (24.0, 19.5)
    assert "age_ms" not in window.spreads()


@pytest.mark.parametrize("kind", ["tracker", "monitor"])
def test_a_tracker_or_monitor_belongs_to_one_open_stream(make_detector: Any, kind: str) -> None:
    owned: Any = {kind: sdk.Tracker(clock=25.0) if kind == "tracker" else sdk.ThermalMonitor()}
    frames = [np.zeros((32, 32), np.uint16)] * 3
    with make_detector() as detector:
        first = detector.stream(frames, **owned)
        with pytest.raises(
            sdk.InputError, match=rf"this {kind} belongs to another open stream .* for each stream"
        ):
            detector.stream(frames, **owned)
        assert len(list(first)) == 3
        with detector.stream(frames, **owned) as second:
            assert len(list(second)) == 3
