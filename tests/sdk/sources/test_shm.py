# SPDX-License-Identifier: Apache-2.0
"""Frames through shared memory: whole or not at all, in order, counted when missed, and the writer's end."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.sources import open_source, ring
from pitviper.sdk.sources.ring import RingWriter, parse_header
from pitviper.sdk.sources.shm import ShmSource

if not os.path.isdir("/dev/shm"):
    pytest.skip("there is no /dev/shm", allow_module_level=True)

# Frames of one value each, as fast as it goes: a torn one would hold two values.
FLOOD = """
import sys
import numpy as np
from pitviper.sdk.sources.ring import RingWriter

frame = np.empty((256, 256), np.uint16)
with RingWriter(sys.argv[1], frame.shape, slots=4, fps=1000) as ring:
    print("ready", flush=True)
    number = 0
    while True:
        frame[:] = number % 65521
        ring.write(frame, sensor_ns=number)
        number += 1
"""


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"pitviper-test-{os.getpid()}"
    yield chosen
    if os.path.exists(ring.ring_path(chosen)):
        os.unlink(ring.ring_path(chosen))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
def test_frames_arrive_bit_for_bit_with_times_and_numbers(name: str, dtype: type) -> None:
    frames = (np.random.default_rng(0).random((5, 33, 47)) * 250).astype(dtype)
    with RingWriter(name, (33, 47), dtype, slots=8, fps=25) as writer:
        writer.write(frames[0], sensor_ns=11, index=100)
        source = open_source(f"shm://{name}")
        assert (source.info.width, source.info.height, source.info.fps) == (47, 33, 25.0)
        for number, frame in enumerate(frames[1:], start=1):
            writer.write(frame, sensor_ns=11 + number, index=100 + number)
    read = list(source)
    assert [frame.index for frame in read] == [104], "a live source begins with the newest frame"
    assert np.array_equal(read[0].image, frames[4])
    assert read[0].image.dtype == dtype
    assert read[0].time.sensor_ns == 15
    assert not os.path.exists(ring.ring_path(name))


def test_a_slow_reader_gets_every_frame_or_counts_it(name: str) -> None:
    with RingWriter(name, (32, 32), slots=4) as writer:
        writer.write(np.zeros((32, 32), np.uint16))
        source = open_source(f"shm://{name}")
        assert next(source).index == 0
        for number in range(1, 20):
            writer.write(np.full((32, 32), number, np.uint16))
    read = list(source)
    assert [frame.index for frame in read] == [18, 19]
    assert [int(frame.image[3, 3]) for frame in read] == [18, 19]
    assert read[0].flags == ("after_gap",)
    assert source.skipped == 17


def test_no_torn_frame_from_a_writer_that_does_not_wait(name: str) -> None:
    writer = subprocess.Popen([sys.executable, "-I", "-c", FLOOD, name], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        source = open_source(f"shm://{name}", timeout_s=20)
        last = -1
        for _ in range(500):
            frame = next(source)
            assert frame.index > last
            last = frame.index
            assert int(frame.image.min()) == int(frame.image.max()) == frame.index % 65521
            assert frame.time.sensor_ns == frame.index
        assert source.skipped > 0, "the reader was never overtaken, so nothing was tried"
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        with pytest.raises(sdk.SourceLost, match="is gone"):
            list(source)
    finally:
        writer.kill()
        writer.wait()


def test_a_frame_that_is_being_written_is_not_taken(name: str) -> None:
    with RingWriter(name, (32, 32), slots=2) as writer:
        writer.write(np.ones((32, 32), np.uint16))
        source = ShmSource(name, timeout_s=0.05)
        at = writer.layout.at(0)
        ring.COUNTER.pack_into(writer._map, at, 2 * 2 + 1)
        assert source._copied(0) is None
        ring.COUNTER.pack_into(writer._map, at, 2)
        assert source._copied(0) is not None
        source.close()


def test_silence_is_a_timeout(name: str) -> None:
    with RingWriter(name, (32, 32)), pytest.raises(sdk.SourceTimeout, match="timeout_s"):
        next(open_source(f"shm://{name}", timeout_s=0.05))


@pytest.mark.parametrize("camera", [None, "generic-y16"])
def test_a_wait_ends_when_it_is_interrupted(name: str, camera: str | None) -> None:
    with RingWriter(name, (32, 32)):
        source = open_source(f"shm://{name}", timeout_s=1000, camera=camera)
        threading.Timer(0.05, source.interrupt).start()
        assert next(source, None) is None


def test_what_a_killed_writer_left_is_refused_when_it_is_old(name: str) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with RingWriter(name, (32, 32)) as writer:
        writer.write(np.zeros((32, 32), np.uint16))
        struct.pack_into("<I", writer._map, 28, gone.pid)
        taken_at = writer.layout.at(0) + 16
        # As from a writer in another container: no such process here, but a young frame, however slow this machine is.
        struct.pack_into("<q", writer._map, taken_at, time.monotonic_ns() + 3600 * 10**9)
        assert next(open_source(f"shm://{name}")).index == 0
        struct.pack_into("<q", writer._map, taken_at, time.monotonic_ns() - 10**9)
        with pytest.raises(sdk.SourceError, match=r"its writer \(process \d+\) is gone"):
            open_source(f"shm://{name}")


def test_what_cannot_be_opened_says_so(name: str) -> None:
    with pytest.raises(sdk.SourceError, match="no such ring"):
        open_source(f"shm://{name}")
    with pytest.raises(sdk.InputError, match="name of a ring"):
        open_source("shm://../etc/passwd")
    with RingWriter(name, (32, 32)):
        with pytest.raises(sdk.SinkError, match="replace=True"):
            RingWriter(name, (32, 32))
        with RingWriter(name, (40, 32), replace=True):
            assert open_source(f"shm://{name}").info.height == 40
    with pytest.raises(sdk.InputError, match="2 to 4096"):
        RingWriter(name, (32, 32), np.int64)


def test_the_writer_refuses_another_shape_and_use_after_close(name: str) -> None:
    writer = RingWriter(name, (32, 32))
    with pytest.raises(sdk.InputError, match="another ring"):
        writer.write(np.zeros((32, 31), np.uint16))
    writer.close()
    writer.close()
    with pytest.raises(sdk.InputError, match="closed"):
        writer.write(np.zeros((32, 32), np.uint16))


def test_the_documented_header_is_the_one_that_is_written(name: str) -> None:
    with RingWriter(name, (48, 64), slots=3, fps=9.0) as writer:
        raw = Path(writer.path).read_bytes()
    assert raw[:8] == b"PVRING01"
    assert struct.unpack_from("<6I", raw, 8) == (3, 64 + 48 * 64 * 2, 48, 64, 2, os.getpid())
    assert struct.unpack_from("<d", raw, 32) == (9.0,)
    layout = parse_header(raw[:128], len(raw))
    assert (layout.slots, layout.shape, layout.dtype, layout.fps) == (3, (48, 64), np.uint16, 9.0)


@pytest.mark.parametrize(
    ("at", "value"), [(0, 0x11), (8, 1), (8, 100_000), (12, 64), (16, 0), (20, 1 << 30), (24, 9), (24, 0)]
)
def test_a_damaged_header_is_refused(name: str, at: int, value: int) -> None:
    with RingWriter(name, (48, 64), slots=3) as writer:
        raw = bytearray(Path(writer.path).read_bytes())
    struct.pack_into("<I", raw, at, value)
    with pytest.raises(sdk.SourceError, match="ring"):
        parse_header(bytes(raw[:128]), len(raw))
