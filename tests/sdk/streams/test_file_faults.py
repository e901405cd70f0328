# SPDX-License-Identifier: Apache-2.0
"""Video files that are cut off, damaged or change their size, through a whole stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pitviper import sdk

from .conftest import adds_up, picture

pytestmark = pytest.mark.usefixtures("nothing_left")

COUNT = 30


def encode(container: Any, stream: Any, numbers: range, shape: tuple[int, int] = (40, 48)) -> None:
    for number in numbers:
        frame = av.VideoFrame.from_ndarray(picture(number, shape), format="gray16le")
        frame.pts = number
        for packet in stream.encode(frame):
            container.mux(packet)
    for packet in stream.encode(None):
        container.mux(packet)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Thirty 16-bit frames, losslessly."""
    path = tmp_path / "video.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 40, "gray16le"
        encode(container, stream, range(COUNT))
    return path


@pytest.mark.parametrize("mode", ["all", "throughput"])
def test_a_file_that_is_cut_off_gives_what_it_holds(detector: sdk.Detector, video: Path, mode: str) -> None:
    whole = [found.xy.tolist() for found in detector.stream(video)]
    assert len(whole) == COUNT
    data = video.read_bytes()
    video.write_bytes(data[: len(data) * 6 // 10])
    stream = detector.stream(video, mode=mode)
    got: list[Any] = []
    with pytest.raises(sdk.SourceLost, match="truncated or damaged"):
        got.extend(found.xy.tolist() for found in stream)
    assert 10 < len(got) < COUNT
    assert got == whole[: len(got)]
    assert stream.state == "failed"
    assert stream.stats.dropped == {}
    assert adds_up(stream.stats, len(got))
    with detector.stream(video, mode=mode, on_error="skip") as skipping:
        assert [found.xy.tolist() for found in skipping] == got
    assert skipping.state == "ended"
    assert skipping.stats.dropped == {"unreadable": 1}
    assert adds_up(skipping.stats, len(got))


def test_damage_in_the_middle_is_flagged_or_counted(detector: sdk.Detector, video: Path) -> None:
    whole = [found.xy.tolist() for found in detector.stream(video)]
    data = bytearray(video.read_bytes())
    middle = len(data) // 2
    # Several packets and what lies between them.
    data[middle : middle + 9000] = bytes(9000)
    video.write_bytes(data)
    with detector.stream(video, on_error="skip") as stream:
        results = list(stream)
    stats = stream.stats
    assert stream.state == "ended"
    told = [stats.dropped.get("unreadable", 0), *(stats.flagged.get(k, 0) for k in ("corrupt", "time_gap"))]
    assert sum(told) > 0
    assert adds_up(stats, len(results))
    # The demuxer leaps over what it cannot read and says nothing, but the times of the frames do.
    odd = next(
        at for at, found in enumerate(results) if {"corrupt", "after_gap", "time_gap"} & set(found.flags)
    )
    # The frame before the gap may have lost its end: FFV1 of this level carries no checksum.
    assert [found.xy.tolist() for found in results[: odd - 1]] == whole[: odd - 1]
    assert odd > 10


def test_a_list_of_frames_of_two_sizes(detector: sdk.Detector) -> None:
    frames = [picture(number, (40, 48) if number < 6 else (56, 72)) for number in range(12)]
    tracker, monitor = sdk.Tracker(clock=25.0), sdk.ThermalMonitor()
    with detector.stream(frames, tracker=tracker, monitor=monitor) as stream:
        results = list(stream)
    assert [found.shape for found in results] == [(40, 48)] * 6 + [(56, 72)] * 6
    assert [found.frame_id for found in results if "shape_changed" in found.flags] == [6]
    assert "tracks_ended" in results[6].flags
    assert all(len(found) == 1 for found in results), "the target of every frame is found"
    assert adds_up(stream.stats, 12)


def test_a_file_that_is_no_video(detector: sdk.Detector, tmp_path: Path) -> None:
    path = tmp_path / "video.mkv"
    path.write_bytes(np.random.default_rng(0).bytes(4000))
    with pytest.raises(sdk.SourceError, match="cannot be opened as a video"):
        detector.stream(path)


def test_a_hundred_files_opened_and_closed(detector: sdk.Detector, video: Path) -> None:
    for turn in range(100):
        with detector.stream(video, mode=("all", "latest", "fresh", "throughput")[turn % 4]) as stream:
            if turn % 3:
                next(stream)
        assert stream.state == ("closed")
        assert adds_up(stream.stats, stream.stats.captured)
