# SPDX-License-Identifier: Apache-2.0
"""Outputs that cannot keep up with a live stream make no answer late; with any other stream they lose nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pitviper import sdk
from pitviper.sdk.record import Recorder, Recording
from pitviper.sdk.sinks import Background, Callback, JsonLines, Masks

from .conftest import Script, adds_up, wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")

QUEUE = 16


class Gate:
    """A sink that stands still until the test opens it."""

    def __init__(self) -> None:
        self.begun, self.opened = threading.Event(), threading.Event()
        self.ids: list[int] = []
        self.best: list[float] = []

    def write(self, frame: Any, found: sdk.Detections) -> None:
        self.begun.set()
        assert self.opened.wait(120)
        self.ids.append(found.frame_id)
        self.best.append(float(found.score_map.max()))

    def close(self) -> None:
        pass


class Paced:
    """The script of a camera whose next frame comes when the one before it was returned: none is too early."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.stream: Any = None

    def __iter__(self) -> Iterator[Any]:
        for number in range(self.count):
            yield lambda number=number: wait_until(
                lambda: self.stream is not None and self.stream.stats.processed >= number, "the result"
            )
            yield number


@pytest.mark.parametrize("mode", ["latest", "fresh"])
def test_a_live_stream_answers_while_an_output_stands_still(
    detector: sdk.Detector, tmp_path: Path, mode: str
) -> None:
    gate, paced = Gate(), Paced(40)
    source, out = Script(paced), tmp_path / "out.jsonl"
    best = []
    with detector.stream(source, mode=mode, sinks=[gate, JsonLines(out)]) as stream:
        paced.stream = stream
        for found in stream:
            assert gate.begun.wait(120)
            assert gate.ids == [], "every answer is out before the output has moved"
            best.append(float(found.score_map.max()))
            if found.frame_id == 39:
                gate.opened.set()
    assert len(best) == 40
    assert adds_up(stream.stats, 40)
    # One was in work, and the newest of the others were in the queue.
    assert gate.ids == [0, *range(40 - QUEUE, 40)]
    told = stream.stats.outputs["Gate"]
    assert (told.given, told.written, told.dropped, told.waiting) == (40, 17, {"slow": 23}, 0)
    assert gate.best == [best[number] for number in gate.ids], "a map in the queue outlives the next frame"
    written = stream.stats.outputs["JsonLines"]
    assert len(out.read_text().splitlines()) == written.written
    assert stream.stats.to_dict()["outputs"]["Gate"]["dropped"] == {"slow": 23}


def test_masks_are_those_of_their_frames(detector: sdk.Detector, tmp_path: Path) -> None:
    paced, masks = Paced(12), []
    source = Script(paced)
    with detector.stream(source, mode="latest", sinks=[Masks(tmp_path / "masks")]) as stream:
        paced.stream = stream
        for found in stream:
            masks.append(found.mask)
    assert stream.stats.outputs["Masks"].written == 12
    for number, mask in enumerate(masks):
        with Image.open(tmp_path / "masks" / f"{number:06d}.png") as image:
            assert np.array_equal(np.asarray(image) > 0, mask)


@pytest.mark.parametrize("mode", ["all", "throughput"])
def test_a_stream_that_must_lose_nothing_waits(detector: sdk.Detector, mode: str) -> None:
    gate = Gate()
    gate.opened.set()
    stream = detector.stream(Script(range(30), live=False), mode=mode, sinks=[gate])
    for count, _ in enumerate(stream, start=1):
        assert len(gate.ids) >= count, "written before it is returned"
    assert gate.ids == [*range(30)]
    assert stream.stats.outputs == {}


def test_a_recording_has_no_gaps(
    detector: sdk.Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = threading.Event()
    write = Recorder.write

    def slow(self: Recorder, frame: Any, found: sdk.Detections) -> None:
        assert held.wait(120)
        write(self, frame, found)

    monkeypatch.setattr(Recorder, "write", slow)
    paced = Paced(60)
    returned: list[int] = []
    stream = detector.stream(Script(paced), sinks=[Recorder(tmp_path / "kept")])
    paced.stream = stream
    reader = threading.Thread(target=lambda: returned.extend(found.frame_id for found in stream))
    reader.start()
    wait_until(lambda: stream.stats.outputs["Recorder"].given == QUEUE + 1, "a full queue")
    held.set()
    reader.join(120)
    assert stream.stats.outputs["Recorder"].dropped == {}
    assert [entry.index for entry in Recording(tmp_path / "kept").entries()] == returned == [*range(60)]
    assert adds_up(stream.stats, 60)


def test_a_queue_of_ones_own_length(detector: sdk.Detector) -> None:
    gate, paced = Gate(), Paced(30)
    with detector.stream(Script(paced), sinks=[Background(gate, depth=29)]) as stream:
        paced.stream = stream
        for found in stream:
            if found.frame_id == 29:
                gate.opened.set()
    assert gate.ids == [*range(30)], "not put behind a second queue"


@pytest.mark.parametrize("mode", ["latest", "all"])
def test_a_callback_that_raises_does_not_end_the_stream(
    detector: sdk.Detector, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    seen: list[int] = []

    def called(frame: Any, found: sdk.Detections) -> None:
        seen.append(found.frame_id)
        if found.frame_id % 2:
            raise ZeroDivisionError("in the application")

    paced = Paced(8)
    stream = detector.stream(Script(paced), mode=mode, sinks=[Callback(called)])
    paced.stream = stream
    with caplog.at_level(logging.ERROR, "pitviper.sinks"):
        assert len(list(stream)) == 8
    assert seen == [*range(8)]
    assert (stream.state, stream.stats.processed) == ("ended", 8)
    told = stream.stats.outputs["called"]
    assert (told.given, told.written, told.dropped) == (8, 4, {"failed": 4})
    assert len(caplog.records) == 1


def test_a_full_disk_ends_a_live_stream_and_everything_is_counted(detector: sdk.Detector) -> None:
    class Full:
        def write(self, frame: Any, found: sdk.Detections) -> None:
            raise sdk.SinkError("no space")

        def close(self) -> None:
            pass

    source = Script(range(100_000))
    stream = detector.stream(source, sinks=[Full()])
    with pytest.raises(sdk.SinkError, match="no space"):
        list(stream)
    assert stream.state == "failed"
    told = stream.stats.outputs["Full"]
    assert told.dropped == {"failed": told.given}
    assert adds_up(stream.stats, source.given)
