# SPDX-License-Identifier: Apache-2.0
"""An RTSP camera that dies, freezes or changes its size: a real server of its own, each picture numbered."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pitviper import sdk
from pitviper.sdk.cli import main

from .conftest import Numbers, RtspCamera, adds_up, follow, wait_until

pytestmark = pytest.mark.usefixtures("rtsp_possible", "nothing_left")

QUICK = sdk.Reconnect(first_s=0.02, longest_s=0.1, give_up_s=None)
PROGRAM = "import sys; from pitviper.sdk.cli import main; sys.exit(main(sys.argv[1:]))"


def jumps(numbers: list[int]) -> list[int]:
    """Where the number of a picture is not the one after its neighbour's."""
    return [at for at, (a, b) in enumerate(itertools.pairwise(numbers), start=1) if b != a + 1]


def test_a_server_that_is_killed_and_started_again(
    detector: sdk.Detector, rtsp_camera: Callable[..., RtspCamera], caplog: pytest.LogCaptureFixture
) -> None:
    camera, seen = rtsp_camera("jpeg"), Numbers()
    with detector.stream(camera.url, mode="all", reconnect=QUICK, timeout_s=20, sinks=[seen]) as stream:
        follow(stream, lambda found: stream.stats.processed >= 20)
        assert stream.state == "live"
        camera.kill()
        wait_until(lambda: stream.read(0.01) is None and stream.state == "reconnecting", "the loss to show")
        before = stream.stats.processed
        camera.start()
        follow(stream, lambda found: stream.stats.processed >= before + 20)
        assert (stream.state, stream.stats.reconnects) == ("live", 1)
    assert stream.state == "closed"
    # Every picture of each connection is there once and in order; the one break is where the flags say.
    assert jumps(seen.seen) == [before]
    assert {"reconnected", "after_gap"} <= set(seen.flags[before])
    assert stream.stats.flagged["reconnected"] == stream.stats.flagged["after_gap"] == 1
    assert len(seen.seen) == stream.stats.processed
    assert set(stream.stats.dropped) <= {"closed"}
    assert adds_up(stream.stats, stream.stats.captured)
    assert "secret" not in caplog.text


def test_a_server_that_freezes_without_hanging_up(
    detector: sdk.Detector, rtsp_camera: Callable[..., RtspCamera]
) -> None:
    camera, seen = rtsp_camera("jpeg"), Numbers()
    states = set()

    def lost() -> bool:
        states.add(stream.state)
        return stream.read(0.01) is None and stream.state == "reconnecting"

    with detector.stream(camera.url, mode="all", reconnect=QUICK, timeout_s=2, sinks=[seen]) as stream:
        follow(stream, lambda found: stream.stats.processed >= 10)
        camera.freeze()
        wait_until(lost, "the silence to be noticed")
        before = stream.stats.processed
        camera.thaw()
        follow(stream, lambda found: stream.stats.processed >= before + 10)
        assert stream.state == "live"
    assert "stalled" in states
    assert jumps(seen.seen) == [before]
    assert set(stream.stats.dropped) <= {"closed"}
    assert adds_up(stream.stats, stream.stats.captured)


def test_a_size_that_changes_in_the_middle(
    detector: sdk.Detector, rtsp_camera: Callable[..., RtspCamera]
) -> None:
    camera, seen = rtsp_camera("h264", "60"), Numbers()
    tracker, monitor = sdk.Tracker(clock="host"), sdk.ThermalMonitor()
    with detector.stream(
        camera.url, mode="all", timeout_s=20, sinks=[seen], tracker=tracker, monitor=monitor
    ) as stream:
        results = follow(stream, lambda found: seen.seen[-1] >= 80)
    assert [found.shape for found in results] == [(64, 192) if n < 60 else (64, 256) for n in seen.seen]
    assert [n for n, flags in zip(seen.seen, seen.flags, strict=True) if "shape_changed" in flags] == [60]
    assert jumps(seen.seen) == []
    assert stream.stats.reconnects == 0
    assert adds_up(stream.stats, stream.stats.captured)


def test_a_slow_consumer_and_one_that_raises(
    detector: sdk.Detector, rtsp_camera: Callable[..., RtspCamera]
) -> None:
    camera, seen = rtsp_camera("jpeg"), Numbers()

    def application() -> None:
        with detector.stream(camera.url, timeout_s=20, sinks=[seen]) as stream:
            streams.append(stream)
            for count, _ in enumerate(stream, start=1):
                if count == 6:
                    raise ZeroDivisionError
                want = stream.stats.captured + 6
                wait_until(
                    lambda want=want: stream.stats.captured >= want, "six frames while one is looked at"
                )

    streams: list[sdk.Stream] = []
    with pytest.raises(ZeroDivisionError):
        application()
    (stream,) = streams
    assert stream.state == "closed"
    assert stream.stats.processed == len(seen.seen) == 6
    assert seen.seen == sorted(set(seen.seen))
    assert stream.stats.dropped["newer"] >= 20
    # Counts and the camera's own numbers agree: what lies between the first and the last result was dropped or seen.
    assert seen.seen[-1] - seen.seen[0] + 1 <= stream.stats.captured
    assert adds_up(stream.stats, stream.stats.captured)


def test_sigterm_ends_a_command_that_waits_for_a_camera(
    rtsp_camera: Callable[..., RtspCamera], tmp_path: Path
) -> None:
    camera, out, stats = rtsp_camera("jpeg"), tmp_path / "out.jsonl", tmp_path / "stats.json"
    argv = [
        "detect",
        camera.url,
        "--json",
        str(out),
        "--stats",
        str(stats),
        "--model",
        "pit-n",
        "--threads",
        "1",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-I", "-c", PROGRAM, *argv, "--timeout", "4"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            wait_until(lambda: out.exists() and out.read_bytes().count(b"\n") >= 3, "three results")
            # It hangs in a read of the network when the signal comes, which only the time limit ends.
            camera.freeze()
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 143, errors
    assert "secret" not in errors
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    counts: dict[str, Any] = json.loads(stats.read_text())
    assert counts["processed"] == len(rows) >= 3
    assert counts["captured"] == len(rows) + sum(counts["dropped"].values())


def test_opened_and_closed_again_and_again(
    detector: sdk.Detector, rtsp_camera: Callable[..., RtspCamera]
) -> None:
    camera = rtsp_camera("jpeg")
    for turn in range(6):
        with detector.stream(camera.url, mode=("all", "latest")[turn % 2], timeout_s=20) as stream:
            if turn % 3:
                next(stream)
        assert stream.state == "closed"
        assert adds_up(stream.stats, stream.stats.captured)


def test_probe_says_what_the_camera_sends(
    rtsp_camera: Callable[..., RtspCamera], capsys: pytest.CaptureFixture[str]
) -> None:
    camera = rtsp_camera("h264")
    assert main(["sources", "probe", camera.url, "--frames", "8", "--timeout", "20", "--json", "-"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["kind"], found["live"], found["frames"]) == ("rtsp", True, 8)
    assert (found["shapes"], found["dtypes"]) == ({"64x192": 8}, {"uint8": 8})
    assert (found["stated_fps"], found["sensor_fps"], found["sensor_times"]) == (50.0, 50.0, "rising")
    assert (found["sensor_clock"], found["repeated"]) == ("its own", 0)
    assert found["flags"] == {"lossy": 8}
    assert "secret" not in printed.out + printed.err
    camera.kill()
    assert main(["sources", "probe", camera.url]) == 3
    assert "refused" in capsys.readouterr().err
