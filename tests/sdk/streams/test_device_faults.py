# SPDX-License-Identifier: Apache-2.0
"""A camera process behind shared memory that is killed and comes back, runs its clock backwards, repeats and swaps."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from pitviper import sdk
from pitviper.sdk.sources.ring import RingWriter, ring_path

from .conftest import adds_up, follow, picture, wait_until

if not os.path.isdir("/dev/shm"):
    pytest.skip("there is no /dev/shm", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("nothing_left")

QUICK = sdk.Reconnect(first_s=0.01, longest_s=0.05, give_up_s=None)
SHAPE = (40, 48)
CAMERA = """
import sys, time
import numpy as np
from pitviper.sdk.sources.ring import RingWriter

rng = np.random.default_rng(0)
with RingWriter(sys.argv[1], (40, 48), slots=64, fps=200, replace=True) as ring:
    print("ready", flush=True)
    while True:
        ring.write(rng.normal(7800, 12, (40, 48)).astype(np.uint16))
        time.sleep(0.005)
"""


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"pitviper-test-device-{os.getpid()}"
    yield chosen
    if os.path.exists(ring_path(chosen)):
        os.unlink(ring_path(chosen))


@pytest.fixture
def plug_in(name: str) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts the camera process and waits until it sends."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", CAMERA, name], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        with process:
            process.kill()


def test_a_camera_that_is_unplugged_and_back(
    detector: sdk.Detector,
    name: str,
    plug_in: Callable[[], subprocess.Popen[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    camera = plug_in()
    with detector.stream(f"shm://{name}", mode="all", reconnect=QUICK, timeout_s=60) as stream:
        results = follow(stream, lambda found: stream.stats.processed >= 5)
        camera.kill()
        camera.wait()
        wait_until(lambda: stream.read(0.01) is None and stream.state == "reconnecting", "the loss to show")
        before = stream.stats.processed
        wait_until(lambda: "is gone" in caplog.text, "an attempt to open what the camera left behind")
        plug_in()
        results += follow(stream, lambda found: stream.stats.processed >= before + 5)
        assert (stream.state, stream.stats.reconnects) == ("live", 1)
    assert stream.state == "closed"
    assert stream.stats.flagged["reconnected"] == 1
    ids = [found.frame_id for found in results]
    assert ids == sorted(set(ids)), "numbers go on although the camera counts from 0 again"
    given = stream.stats.captured - stream.stats.dropped.get("unreadable", 0)
    assert adds_up(stream.stats, given)


def test_clocks_backwards_repeated_and_swapped_frames(detector: sdk.Detector, name: str) -> None:
    # (number, milliseconds): one comes twice, two are swapped, and then the clock is set back for good.
    sent = [(0, 1000), (1, 1040), (1, 1040), (3, 1120), (2, 1080), (4, 1160), (5, 200), (6, 240)]
    tracker, results = sdk.Tracker(), []
    with (
        RingWriter(name, SHAPE, slots=16) as camera,
        detector.stream(f"shm://{name}", mode="all", timeout_s=60, tracker=tracker) as stream,
    ):
        for index, milliseconds in sent:
            camera.write(picture(index), sensor_ns=milliseconds * 1_000_000, index=index)
            results.append(next(stream))
    assert [found.frame_id for found in results] == [index for index, _ in sent]
    odd = ["out_of_order", "time_repeated", "time_late"]
    assert [[flag for flag in odd if flag in found.flags] for found in results] == [
        [], [], ["out_of_order", "time_repeated"], [], ["out_of_order", "time_late"], [], ["time_late"], [],
    ]  # fmt: skip
    assert "tracks_ended" in results[6].flags
    assert all(len(found) == 1 for found in results), "the target of every frame is found"
    assert adds_up(stream.stats, len(sent))


def test_a_slow_consumer_is_told_what_it_missed(detector: sdk.Detector, name: str) -> None:
    """The ring overwrites what nobody took: every frame is a result, dropped by the stream, or unreadable."""
    count, go = 300, threading.Event()

    def send(camera: RingWriter) -> None:
        assert go.wait(120)
        for index in range(1, count):
            camera.write(picture(index))

    with RingWriter(name, SHAPE, slots=8) as camera:
        camera.write(picture(0))
        sender = threading.Thread(target=send, args=(camera,))
        sender.start()
        with detector.stream(f"shm://{name}", timeout_s=60) as stream:
            results = [next(stream)]
            go.set()
            sender.join()
            results += follow(stream, lambda found: found.frame_id == count - 1)
            assert adds_up(stream.stats, stream.stats.captured - stream.stats.dropped.get("unreadable", 0))
    assert stream.stats.captured == count
    ids = [found.frame_id for found in results]
    assert ids == sorted(set(ids))
    assert stream.stats.processed == len(results) == count - sum(stream.stats.dropped.values())
    assert stream.stats.dropped.get("newer", 0) + stream.stats.dropped.get("unreadable", 0) > 200


def test_a_hundred_cameras_opened_and_closed(detector: sdk.Detector, name: str) -> None:
    with RingWriter(name, SHAPE) as camera:
        for turn in range(100):
            camera.write(picture(turn))
            mode = ("latest", "all", "fresh", "throughput")[turn % 4]
            with detector.stream(f"shm://{name}", mode=mode, timeout_s=60) as stream:
                if turn % 2:
                    next(stream)
            assert stream.state == "closed"
            assert adds_up(stream.stats, stream.stats.captured)
        del stream
        gc.collect()
        with open("/proc/self/maps") as maps:
            assert sum(ring_path(name) in line for line in maps) == 1, "only the writer's own is left"
