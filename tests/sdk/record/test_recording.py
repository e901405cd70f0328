# SPDX-License-Identifier: Apache-2.0
"""Recordings: the same bits back, whatever the type, through kills, full disks and damage."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.record import Recorder, Recording, ReplaySource
from pitviper.sdk.record.entries import Entry, Header, unpack_found
from pitviper.sdk.sources import Frame, FrameTime, open_source

DiskOf = Callable[[int], AbstractContextManager[None]]

Make = Callable[..., Path]

# Records until it is killed; prints the number of each frame after it was handed to the recorder.
ENDLESS = """
import sys
import numpy as np
from pitviper import sdk
from pitviper.sdk.record import Recorder
from pitviper.sdk.sources import Frame, FrameTime

recorder = Recorder(sys.argv[1], encoding=sys.argv[2])
index = 0
while True:
    image = np.full((64, 96), index, np.uint16)
    recorder.write(Frame(image, index, FrameTime.now(index)), sdk.Detections.empty((64, 96)))
    print(index, flush=True)
    index += 1
"""


@pytest.mark.parametrize("encoding", ["raw", "ffv1"])
def test_frames_times_flags_and_results_come_back_exactly(
    encoding: str, record: Make, pictures: list[Any], detector: sdk.Detector
) -> None:
    folder = record(encoding)
    with open_source(f"replay://{folder}") as source:
        assert (source.info.count, source.info.width, source.info.height) == (12, 128, 96)
        frames = list(source)
    assert len(frames) == len(pictures)
    found = [unpack_found(entry) for entry in Recording(folder).entries() if isinstance(entry, Entry)]
    for index, (frame, picture, result) in enumerate(zip(frames, pictures, found, strict=True)):
        assert np.array_equal(frame.image, picture)
        assert frame.image.dtype == np.uint16
        assert frame.index == index
        assert result is not None
        assert result.time == frame.time
        again = detector.detect(picture)
        for key in ("xy", "xyxy", "score", "mean", "area_px", "snr"):
            assert np.array_equal(getattr(result, key), getattr(again, key), equal_nan=key == "snr"), key


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
def test_every_type_keeps_its_bits_and_odd_numbers_their_values(tmp_path: Path, dtype: type) -> None:
    image = (np.random.default_rng(1).random((40, 50)) * 255).astype(dtype)
    found = sdk.Detections(
        xy=[[1 / 3, 2 / 3]], xyxy=[[0, 0, 1, 1]], score=[0.1], mean=[0.1], area_px=[1], snr=[math.nan],
        shape=(40, 50), flags=("odd",), threshold=0.1 + 0.2,
    )  # fmt: skip
    frame = Frame(image[::-1], 7, FrameTime(None, -5, 1 << 60), "a/b.png", ("ffc",))
    recorder = Recorder(tmp_path / "r")
    recorder.write(frame, found)
    recorder.close()
    (entry,) = Recording(tmp_path / "r").entries()
    assert isinstance(entry, Entry)
    (read,) = ReplaySource(tmp_path / "r")
    assert np.array_equal(read.image, image[::-1])
    assert read.image.dtype == image.dtype
    assert (read.time, read.name, read.flags) == (frame.time, "a/b.png", ("ffc", "odd"))
    result = unpack_found(entry)
    assert result is not None
    assert np.array_equal(result.xy, found.xy)
    assert result.score[0] == np.float32(0.1)
    assert result.threshold == 0.1 + 0.2
    assert math.isnan(result.snr[0])


@pytest.mark.parametrize("encoding", ["raw", "ffv1"])
def test_a_change_of_size_begins_a_new_file(tmp_path: Path, encoding: str) -> None:
    shapes = [(40, 48), (40, 48), (64, 64), (40, 48)]
    recorder = Recorder(tmp_path / "r", encoding=encoding)
    for index, shape in enumerate(shapes):
        image = np.full(shape, index, np.uint16)
        recorder.write(Frame(image, index, FrameTime.now()), sdk.Detections.empty(shape))
    recorder.close()
    read = list(ReplaySource(tmp_path / "r"))
    assert [frame.image.shape for frame in read] == shapes
    assert [int(frame.image[0, 0]) for frame in read] == [0, 1, 2, 3]
    assert len(list((tmp_path / "r").glob("frames-*"))) == 3


@pytest.mark.parametrize("encoding", ["raw", "ffv1"])
def test_a_killed_recording_is_readable_up_to_its_last_frames(tmp_path: Path, encoding: str) -> None:
    folder = tmp_path / "r"
    with subprocess.Popen(
        [sys.executable, "-I", "-c", ENDLESS, str(folder), encoding], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        last = -1
        for line in process.stdout:
            last = int(line)
            if last == 20:
                break
        os.kill(process.pid, signal.SIGKILL)
        last = max([last, *map(int, process.stdout.read().split())])
    frames = list(ReplaySource(folder))
    # The writer's own report may be one behind; Matroska holds the last picture back until the next one.
    assert len(frames) >= last + 1 - (2 if encoding == "ffv1" else 0)
    for index, frame in enumerate(frames):
        assert frame.index == index
        assert (frame.image == index).all()


def test_a_line_that_was_cut_off_is_left_out(record: Make) -> None:
    folder = record("raw")
    index = folder / "index.jsonl"
    data = index.read_bytes()
    index.write_bytes(data[: data.rindex(b"\n", 0, -1) + 40])
    assert len(list(ReplaySource(folder))) == 11


@pytest.mark.parametrize("encoding", ["raw", "ffv1"])
def test_a_full_disk_is_an_error_and_earlier_frames_are_whole(
    tmp_path: Path, encoding: str, disk_of: DiskOf
) -> None:
    images = np.random.default_rng(0).integers(0, 1 << 14, (60, 64, 96)).astype(np.uint16)
    recorder = Recorder(tmp_path / "r", encoding=encoding)
    written: list[int] = []

    def fill() -> None:
        for index, image in enumerate(images):
            recorder.write(Frame(image, index, FrameTime.now()), sdk.Detections.empty((64, 96)))
            written.append(index)

    with disk_of(100_000), pytest.raises(sdk.SinkError, match="what was written before is valid"):
        fill()
    recorder.close()
    frames = list(ReplaySource(tmp_path / "r"))
    assert len(written) >= 7
    # Of video the muxer had taken the last picture without writing it.
    assert len(frames) >= len(written) - (2 if encoding == "ffv1" else 0)
    for frame in frames:
        assert np.array_equal(frame.image, images[frame.index])


def test_damaged_pixels_are_found_and_can_be_skipped(record: Make) -> None:
    folder = record("raw")
    file = folder / "frames-0000.raw"
    data = bytearray(file.read_bytes())
    data[3 * 96 * 128 * 2 + 17] ^= 1
    file.write_bytes(data)
    with pytest.raises(sdk.SourceError, match="CRC-32"):
        list(ReplaySource(folder))
    source = ReplaySource(folder, on_error="skip")
    frames = list(source)
    assert [frame.index for frame in frames] == [0, 1, 2, *range(4, 12)]
    assert source.skipped == 1
    assert frames[3].flags == ("after_gap",)


def test_missing_pixels_are_an_error_also_at_the_end(record: Make) -> None:
    folder = record("raw")
    file = folder / "frames-0000.raw"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(sdk.SourceLost, match="ends before frame 11"):
        list(ReplaySource(folder))
    source = ReplaySource(folder, on_error="skip")
    assert len(list(source)) == 11
    assert source.skipped == 1


def test_a_damaged_line_names_its_number(record: Make) -> None:
    folder = record("raw")
    index = folder / "index.jsonl"
    lines = index.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b'"index":3', b'"index":-3')
    index.write_bytes(b"".join(lines))
    with pytest.raises(sdk.SourceError, match="line 5"):
        list(ReplaySource(folder))
    assert len(list(ReplaySource(folder, on_error="skip"))) == 11


def test_frames_come_at_the_pace_of_their_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path / "r")
    for index, ms in enumerate((0, 40, 100, 9_000_000)):
        time = FrameTime(ms * 1_000_000, 5, 6)
        image = np.full((32, 32), index, np.uint16)
        recorder.write(Frame(image, index, time), sdk.Detections.empty((32, 32)))
    recorder.close()
    now = [100.0]
    monkeypatch.setattr("pitviper.sdk.record.source.time.monotonic", lambda: now[0])
    monkeypatch.setattr(
        "pitviper.sdk.record.source.time.sleep", lambda seconds: now.__setitem__(0, now[0] + seconds)
    )
    due = []
    with open_source(f"replay://{tmp_path / 'r'}?speed=2") as source:
        assert not source.info.live
        for _ in source:
            due.append(round(now[0] - 100.0, 6))
    # Twice as fast; and a clock that jumps by hours is not waited for.
    assert due == [0.0, 0.02, 0.05, 0.05]


def recording_with_a_pause(folder: Path, pause_s: float) -> Path:
    """Two frames."""
    recorder = Recorder(folder)
    for index, seconds in enumerate((0.0, pause_s)):
        time = FrameTime(round(seconds * 1e9), 5, 6)
        recorder.write(
            Frame(np.full((32, 32), index, np.uint16), index, time), sdk.Detections.empty((32, 32))
        )
    recorder.close()
    return folder


def test_a_pause_in_a_recording_is_no_silent_camera(
    tmp_path: Path, make_detector: Callable[..., sdk.Detector]
) -> None:
    """Two seconds, of which a camera that says nothing for more than half of one is given up."""
    folder = recording_with_a_pause(tmp_path / "r", 2.0)
    with make_detector() as detector, detector.stream(f"replay://{folder}?speed=1", timeout_s=0.5) as stream:
        assert len(list(stream)) == 2


def test_a_pause_in_a_recording_does_not_stall(
    tmp_path: Path, make_detector: Callable[..., sdk.Detector]
) -> None:
    """A camera that says nothing for a second does."""
    folder, states = recording_with_a_pause(tmp_path / "r", 3.0), set()
    with make_detector() as detector, detector.stream(f"replay://{folder}?speed=1") as stream:
        next(stream)
        while stream.read(0.05) is None:
            states.add(stream.state)
    assert states == {"live"}


def test_a_stream_that_is_closed_in_a_pause_ends_at_once(
    tmp_path: Path, make_detector: Callable[..., sdk.Detector], caplog: pytest.LogCaptureFixture
) -> None:
    """And with no limit to the wait for a frame."""
    folder = recording_with_a_pause(tmp_path / "r", 3000.0)
    with (
        make_detector() as detector,
        detector.stream(f"replay://{folder}?speed=1", timeout_s=math.inf) as stream,
    ):
        next(stream)
    assert [thread.name for thread in threading.enumerate() if thread.name == "pitviper-capture"] == []
    assert caplog.messages == []


def test_a_folder_with_files_is_not_recorded_into(record: Make) -> None:
    folder = record("raw")
    with pytest.raises(sdk.SinkError, match="already holds 2 files"):
        Recorder(folder)


def test_recording_ffv1_needs_integers(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", encoding="ffv1")
    with pytest.raises(sdk.SinkError, match="--record-format raw"):
        recorder.write(
            Frame(np.zeros((32, 32), np.float32), 0, FrameTime.now()), sdk.Detections.empty((32, 32))
        )
    recorder.close()
    with pytest.raises(sdk.InputError, match="raw, ffv1"):
        Recorder(tmp_path / "s", encoding="h264")


@pytest.mark.parametrize(
    ("uri", "kind", "message"),
    [
        ("replay://nowhere", sdk.SourceError, "no recording"),
        ("replay://{}?speed=fast", sdk.InputError, "no number"),
        ("replay://{}?speed=0", sdk.InputError, "above 0"),
        ("replay://{}?pace=2", sdk.InputError, "unknown key 'pace'"),
    ],
)
def test_what_cannot_be_replayed_says_so(record: Make, uri: str, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        open_source(uri.format(record("raw")))


def test_outputs_may_not_replace_a_recording(record: Make) -> None:
    folder = record("raw")
    assert set(open_source(f"replay://{folder}").files) == set(folder.iterdir())


def test_the_header_says_what_was_recorded(record: Make) -> None:
    folder = record("raw", tracker={"confirm": (3, 5), "clock": 25.0})
    header = Recording(folder).header
    assert isinstance(header, Header)
    assert header.setup is not None
    assert header.setup.model == "toy"
    assert header.setup.engine["name"] == "toy"
    first = json.loads((folder / "index.jsonl").read_bytes().splitlines()[0])
    assert first["schema"] == "pitviper.recording/1"
    assert replace(header, setup=None).encoding == "raw"


def test_a_recording_that_is_opened_as_a_folder_is_named(record: Callable[..., Path]) -> None:
    folder = record("raw")
    with pytest.raises(
        sdk.SourceError, match=f"a recording and no folder of images; open it as replay://{folder}"
    ):
        open_source(str(folder))
