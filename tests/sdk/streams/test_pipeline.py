# SPDX-License-Identifier: Apache-2.0
"""A pipeline: source, detector, tracker, monitor, outputs and a callback as one object."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pitviper import sdk
from pitviper.sdk.sinks import JsonLines

from .conftest import Script, adds_up, wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")


def test_everything_in_one_object(detector: sdk.Detector, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    source, out = Script(range(8)), tmp_path / "out.jsonl"
    pipeline = sdk.Pipeline(
        source,
        detector,
        mode="all",
        tracker=sdk.Tracker(confirm=(2, 3)),
        monitor=sdk.ThermalMonitor(),
        sinks=[JsonLines(out)],
        on_result=lambda frame, found: seen.append((frame.index, found.frame_id)),
    )
    stats = pipeline.run()
    assert seen == [(number, number) for number in range(8)]
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["frame_id"] for row in rows] == [*range(8)]
    assert any(target["track_id"] > 0 for row in rows for target in row["targets"])
    assert (pipeline.state, pipeline.latest.frame_id) == ("ended", 7)  # type: ignore[union-attr]
    assert adds_up(stats, source.given)
    with pytest.raises(sdk.SdkError, match="make a new one"):
        pipeline.start()


def test_a_pipeline_that_runs_at_the_end_of_the_program_is_stopped(tmp_path: Path) -> None:
    """Its thread would abort the interpreter, and its outputs would stay without their end."""
    out = tmp_path / "out.jsonl"
    program = (
        "import time; from pitviper import sdk; from pitviper.sdk.sinks import JsonLines\n"
        f"sinks = [JsonLines({str(out)!r})]\n"
        "source = 'synthetic://?frames=none&width=64&height=64'\n"
        "running = sdk.Pipeline(source, sdk.Detector('pit-n', threads=1), sinks=sinks).start()\n"
        "while running.stats.processed < 5: time.sleep(0.01)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert (done.returncode, "still ran when the program ended" in done.stderr) == (0, True), done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["frame_id"] for row in rows][:5] == [*range(5)]


def test_stopping_drains_and_closes(detector: sdk.Detector) -> None:
    go = threading.Event()
    source = Script([0, 1, 2, lambda: go.wait(120), 3])
    with sdk.Pipeline(source, detector, mode="all") as pipeline:
        wait_until(lambda: pipeline.stats.processed == 3, "three results")
        assert not pipeline.join(0.001)
        threading.Timer(0.05, go.set).start()
        assert pipeline.stop()
    assert pipeline.stop()
    assert pipeline.state == "closed"
    assert adds_up(pipeline.stats, source.given)


def test_a_callback_that_raises_ends_the_pipeline_and_is_heard_of(
    detector: sdk.Detector, tmp_path: Path
) -> None:
    def callback(frame: Any, found: sdk.Detections) -> None:
        if found.frame_id == 2:
            raise ZeroDivisionError("in the application")

    source, out = Script(range(5)), tmp_path / "out.jsonl"
    pipeline = sdk.Pipeline(source, detector, mode="all", sinks=[JsonLines(out)], on_result=callback)
    with pytest.raises(ZeroDivisionError):
        pipeline.run()
    assert pipeline.state == "failed"
    assert len(out.read_text().splitlines()) == 3
    assert pipeline.stats.processed == 3
    assert adds_up(pipeline.stats, source.given)
    assert pipeline.join(), "an error is raised once"


def test_a_lost_source_is_heard_of(detector: sdk.Detector) -> None:
    pipeline = sdk.Pipeline(Script([0, sdk.SourceLost("unplugged")]), detector, mode="all").start()
    with pytest.raises(sdk.SourceLost, match="unplugged"):
        pipeline.join()
    assert pipeline.state == "failed"


def test_a_callback_may_stop_its_own_pipeline(detector: sdk.Detector) -> None:
    pipeline: Any = None

    def callback(frame: Any, found: sdk.Detections) -> None:
        assert pipeline.stop(drain=False) is False

    source = Script(range(1000))
    pipeline = sdk.Pipeline(source, detector, mode="all", on_result=callback)
    stats = pipeline.run()
    assert (stats.processed, pipeline.state) == (1, "closed")
    assert adds_up(stats, source.given)


def test_ctrl_c_in_run_finishes_what_was_captured(detector: sdk.Detector, tmp_path: Path) -> None:
    out, source = tmp_path / "out.jsonl", Script(range(100_000))

    def callback(frame: Any, found: sdk.Detections) -> None:
        if found.frame_id == 3:
            os.kill(os.getpid(), signal.SIGINT)

    pipeline = sdk.Pipeline(source, detector, mode="all", sinks=[JsonLines(out)], on_result=callback)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run()
    assert pipeline.state == "closed"
    assert len(out.read_text().splitlines()) == pipeline.stats.processed >= 4
    assert set(pipeline.stats.dropped) <= {"closed"}
    assert adds_up(pipeline.stats, source.given)


@pytest.mark.parametrize("begin", [sdk.Pipeline.run, sdk.Pipeline.start, sdk.Pipeline.__enter__])
def test_ctrl_c_while_the_thread_starts_stops_it(
    detector: sdk.Detector, tmp_path: Path, begin: Callable[[sdk.Pipeline], object]
) -> None:
    out, source = tmp_path / "out.jsonl", Script(range(100_000))
    working = threading.Event()
    pipeline = sdk.Pipeline(
        source, detector, mode="all", sinks=[JsonLines(out)], on_result=lambda frame, found: working.set()
    )
    start = pipeline._thread.start

    def interrupted() -> None:
        start()
        assert working.wait(60)
        raise KeyboardInterrupt

    pipeline._thread.start = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        begin(pipeline)
    assert pipeline.state == "closed"
    assert len(out.read_text().splitlines()) == pipeline.stats.processed >= 1
    assert adds_up(pipeline.stats, source.given)


def test_never_started_still_closes(detector: sdk.Detector) -> None:
    source = Script(range(5))
    pipeline = sdk.Pipeline(source, detector, mode="all")
    with pytest.raises(sdk.SdkError, match="was not started"):
        pipeline.join()
    assert pipeline.stop()
    assert pipeline.state == "closed"
    assert source.closed_by


def test_a_wrong_address_is_told_at_once(make_detector: Callable[..., sdk.Detector]) -> None:
    with pytest.raises(sdk.SourceError, match="no such file"):
        sdk.Pipeline("no-such-file.mkv", make_detector())
