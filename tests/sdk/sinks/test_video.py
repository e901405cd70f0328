# SPDX-License-Identifier: Apache-2.0
"""Annotated video: plays, holds every frame, and survives Ctrl-C, a kill and a full disk."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk import Detections
from pitviper.sdk.sinks import AnnotatedVideo
from pitviper.sdk.sources import open_source


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_mp4_plays_with_every_frame(tmp_path: Path, shots: list[Any]) -> None:
    sink = AnnotatedVideo(tmp_path / "out.mp4", fps=30)
    for frame, found in shots:
        sink.write(frame, found)
    sink.close()
    sink.close()
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.average_rate == 30
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.codec_context.name == ("mpeg4" if sink.encoder == "mpeg4" else "h264")
        # 80 columns are enlarged 8 times; a line of text is added below, and sides are even.
        assert stream.width == 640
        assert stream.height >= 480 + 12
        assert stream.height % 2 == 0
        assert sum(1 for _ in container.decode(stream)) == 12


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".avi"])
def test_other_containers(tmp_path: Path, shots: list[Any], suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    sink = AnnotatedVideo(path)
    for frame, found in shots[:3]:
        sink.write(frame, found)
    sink.close()
    assert frames_of(path) == 3


def test_odd_sizes_and_frame_rates(tmp_path: Path, shot: Callable[..., Any]) -> None:
    sink = AnnotatedVideo(tmp_path / "out.mp4", fps=29.97, scale=1)
    for index in range(3):
        sink.write(*shot(index, {(5, 5): 3}, shape=(61, 83)))
    sink.close()
    assert frames_of(tmp_path / "out.mp4") == 3


def test_mpeg4_where_there_is_no_h264(
    tmp_path: Path, shots: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pitviper.sdk.sinks.video._ENCODERS", ("absent", "mpeg4"))
    sink = AnnotatedVideo(tmp_path / "out.mp4")
    sink.write(*shots[0])
    sink.close()
    assert sink.encoder == "mpeg4"
    assert "no H.264 encoder" in caplog.text
    assert frames_of(tmp_path / "out.mp4") == 1


def test_frames_of_another_size_go_into_a_new_file(
    tmp_path: Path, shot: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "out-2.mp4").write_text("not mine")
    sink = AnnotatedVideo(tmp_path / "out.mp4", scale=1)
    shapes = [(60, 80)] * 3 + [(48, 64)] * 2 + [(60, 80)] * 4
    for index, shape in enumerate(shapes):
        sink.write(*shot(index, {(5, 5): 3}, shape=shape))
    sink.close()
    names = ["out.mp4", "out-3.mp4", "out-4.mp4"]
    assert sink.paths == [tmp_path / name for name in names]
    assert (tmp_path / "out-2.mp4").read_text() == "not mine", "a file that was there is left alone"
    assert [frames_of(path) for path in sink.paths] == [3, 2, 4]
    widths = []
    for path in sink.paths:
        with av.open(str(path)) as container:
            widths.append(container.streams.video[0].width)
    assert widths == [80, 64, 80]
    assert "frame 3 is 64x48 and the video is 80x60; going on in" in caplog.text


def test_frames_of_ever_new_sizes_are_no_video(tmp_path: Path, shot: Callable[..., Any]) -> None:
    sink = AnnotatedVideo(tmp_path / "out.mp4", scale=1)
    for index in range(16):
        sink.write(*shot(index, {}, shape=(60 + index, 80)))
    with pytest.raises(sdk.SinkError, match="frame 16 is 80x76 and the video is 80x75, for the 16th time"):
        sink.write(*shot(16, {}, shape=(76, 80)))
    sink.close()
    assert [frames_of(path) for path in sink.paths] == [1] * 16


def test_a_folder_that_is_full_in_mid_stream_keeps_what_was_written(
    tmp_path: Path, shot: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = AnnotatedVideo(tmp_path / "out.mp4", scale=1)
    sink.write(*shot(0, {}))
    real = os.open

    def no_inodes(path: Any, flags: int, mode: int = 0o777, **others: Any) -> int:
        if str(path).endswith("out-2.mp4"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, flags, mode, **others)

    monkeypatch.setattr(os, "open", no_inodes)
    with pytest.raises(sdk.SinkError, match=r"out-2\.mp4: cannot be written \(No space"):
        sink.write(*shot(1, {}, shape=(48, 64)))
    sink.close()
    assert frames_of(tmp_path / "out.mp4") == 1


def test_nothing_is_left_of_a_video_without_frames(tmp_path: Path) -> None:
    AnnotatedVideo(tmp_path / "out.mp4").close()
    assert list(tmp_path.iterdir()) == []


def test_suffix_and_rate_are_checked(tmp_path: Path) -> None:
    with pytest.raises(sdk.SinkError, match=r"\.mp4, \.mkv"):
        AnnotatedVideo(tmp_path / "out.txt")
    for fps in (-1, 0, float("nan"), True):
        with pytest.raises(sdk.InputError, match="fps must be a finite number above 0"):
            AnnotatedVideo(tmp_path / "out.mp4", fps=fps)
    assert not (tmp_path / "out.mp4").exists()


def test_ctrl_c_in_the_middle_of_a_stream_leaves_valid_outputs(tmp_path: Path, make_detector: Any) -> None:
    from pitviper.sdk.sinks import open_sinks

    sinks = open_sinks(video=tmp_path / "out.mp4", json=tmp_path / "out.jsonl", coco=tmp_path / "out.json")

    def interrupted() -> Any:
        for frame in open_source("synthetic://?frames=7&width=64&height=48"):
            yield frame.image
        raise KeyboardInterrupt

    seen: list[Detections] = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(make_detector().stream(interrupted(), sinks=sinks))
    assert len(seen) == 7
    assert frames_of(tmp_path / "out.mp4") == 7
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 7


WRITER = """
import os, resource, signal, sys
from pitviper.sdk import Detections
from pitviper.sdk.errors import SinkError
from pitviper.sdk.sinks import AnnotatedVideo
from pitviper.sdk.sources import open_source
path, how = sys.argv[1:]
if how == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
sink = AnnotatedVideo(path, fps=5)
for frame in open_source("synthetic://cloud?frames=200&width=64&height=48"):
    try:
        sink.write(frame, Detections.empty(frame.image.shape, frame_id=frame.index))
    except SinkError as error:
        print(error)
        sink.close()
        sys.exit(3)
    if how == "kill" and frame.index == 90:
        os._exit(9)
"""


@pytest.mark.parametrize(("how", "code"), [("kill", 9), ("full", 3)])
def test_killed_process_and_full_disk_leave_a_video_that_plays(tmp_path: Path, how: str, code: int) -> None:
    path = tmp_path / "out.mp4"
    done = subprocess.run(
        [sys.executable, "-I", "-c", WRITER, str(path), how],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stderr
    if how == "full":
        assert str(path) in done.stdout
        assert "largest size allowed" in done.stdout
    # Fragments of ten frames; what the encoder held back and the torn fragment are lost.
    if how == "full":
        assert frames_of(path) >= 10, "every picture that is left decodes"
    else:
        with open_source(path, on_error="skip") as source:
            assert sum(1 for _ in source) >= 10


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
def test_only_videos_of_its_own_are_replaced(tmp_path: Path, suffix: str, shot: Callable[..., Any]) -> None:
    path = tmp_path / f"out{suffix}"
    for _ in range(2):
        sink = AnnotatedVideo(path)
        sink.write(*shot(0, {}, shape=(48, 64)))
        sink.close()
        assert frames_of(path) == 1
    foreign = tmp_path / f"filmed{suffix}"
    with av.open(str(foreign), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(picture), *stream.encode(None)])
    for filmed in (foreign, tmp_path / f"notes{suffix}"):
        if filmed is not foreign:
            filmed.write_bytes(b"no video at all")
        before = filmed.read_bytes()
        with pytest.raises(sdk.SinkError, match=r"not replaced; .*needs quotes"):
            AnnotatedVideo(filmed)
        assert filmed.read_bytes() == before
