# SPDX-License-Identifier: Apache-2.0
"""Video files as a source: every bit of gray formats, luma of others, and truncated files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.sdk.sources import open_source

COUNT = 30


def movie(bits: int, count: int = COUNT) -> NDArray[Any]:
    dtype = np.uint8 if bits <= 8 else np.uint16
    # 70 columns: rows are padded inside FFmpeg, and the padding must not come through.
    return np.random.default_rng(bits).integers(0, 2**bits, (count, 48, 70)).astype(dtype)


def record(path: Path, frames: NDArray[Any], codec: str, pixels: str, **options: str) -> Path:
    container_options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=container_options) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], pixels
        for index, frame in enumerate(frames):
            if pixels.startswith("gray") and frame.dtype == np.uint16:
                picture = av.VideoFrame(frame.shape[1], frame.shape[0], pixels)
                plane = picture.planes[0]
                rows = np.zeros((frame.shape[0], plane.line_size // 2), "<u2")
                rows[:, : frame.shape[1]] = frame
                plane.update(rows.tobytes())
            else:
                shape = "rgb24" if frame.ndim == 3 else "gray"
                picture = av.VideoFrame.from_ndarray(frame, format=shape).reformat(format=pixels)
            picture.pts = index
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("pixels", "bits"), [("gray", 8), ("gray10le", 10), ("gray12le", 12), ("gray14le", 14), ("gray16le", 16)]
)
def test_gray_video_keeps_every_bit(tmp_path: Path, pixels: str, bits: int) -> None:
    frames = movie(bits, 4)
    raw = bits == 14  # older FFV1 encoders lack it
    path = record(tmp_path / ("a.nut" if raw else "a.mkv"), frames, "rawvideo" if raw else "ffv1", pixels)
    with open_source(path) as source:
        read = list(source)
    assert not source.info.lossy
    assert (source.info.width, source.info.height, source.info.fps) == (70, 48, 25.0)
    assert np.array_equal(np.stack([frame.image for frame in read]), frames)
    assert read[0].image.dtype == frames.dtype
    assert [frame.time.sensor_ns for frame in read] == [0, 40_000_000, 80_000_000, 120_000_000]
    assert read[3].flags == ()


def test_h264_gives_luma_and_says_lossy(tmp_path: Path) -> None:
    base = np.tile(np.arange(70, dtype=np.uint8) * 3, (48, 1))
    frames = np.stack([base] * 5)
    path = record(tmp_path / "a.mp4", frames, "libx264", "yuv420p", crf="1")
    read = list(open_source(path))
    assert len(read) == 5
    assert read[0].flags == ("lossy",)
    luma = read[0].image.astype(float)
    assert np.corrcoef(luma.ravel(), base.ravel())[0, 1] > 0.999
    # The stored luma, in the studio range 16 to 235, not a picture stretched back to 0 to 255.
    assert abs(luma.min() - 16) <= 3


def test_false_colour_video_is_said(tmp_path: Path) -> None:
    frames = np.zeros((3, 48, 64, 3), np.uint8)
    frames[..., 0] = 220
    path = record(tmp_path / "red.mp4", frames, "libx264", "yuv420p")
    assert "colour_ignored" in next(open_source(path)).flags


def test_rgb_video_of_equal_planes_is_gray_and_of_others_refused(tmp_path: Path) -> None:
    gray = movie(8, 2)
    equal = record(tmp_path / "equal.mkv", np.stack([gray] * 3, axis=-1), "ffv1", "bgr0")
    assert np.array_equal(next(open_source(equal)).image, gray[0])
    colour = np.stack([gray, gray, 255 - gray], axis=-1)
    unequal = record(tmp_path / "unequal.mkv", colour, "ffv1", "bgr0")
    with pytest.raises(sdk.InputError, match="palette is no temperature"):
        next(open_source(unequal))


@pytest.mark.parametrize("suffix", ["mkv", "nut", "avi", "mp4"])
def test_a_pause_in_a_recording_is_no_damage(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A camera that gave nothing for a second leaves fewer frames than its rate and length foretell."""
    path = tmp_path / f"pause.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4" if suffix in {"avi", "mp4"} else "ffv1", rate=25)
        stream.height, stream.width = 48, 64
        stream.pix_fmt = "yuv420p" if suffix in {"avi", "mp4"} else "gray"
        for index in (*range(25), *range(50, 75)):
            picture = av.VideoFrame.from_ndarray(movie(8, 1)[0][:, :64], format="gray").reformat(
                format=stream.pix_fmt
            )
            picture.pts = index
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    with open_source(path) as source:
        assert len([*source]) == 50
    assert ("there are pauses in it" in caplog.text) == (suffix != "mp4"), "MP4 counts its frames"


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [("a.mkv", "ffv1", "gray"), ("a.avi", "ffv1", "gray"), ("a.mp4", "libx264", "yuv420p")],
)
def test_truncated_video_delivers_its_frames_and_then_says_so(
    tmp_path: Path, name: str, codec: str, pixels: str
) -> None:
    frames = movie(8)[:, :, :64]
    path = record(tmp_path / name, np.ascontiguousarray(frames), codec, pixels)
    assert len(list(open_source(path))) == COUNT
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])

    indices: list[int] = []
    with pytest.raises(sdk.SourceLost, match=rf"\d+ of {COUNT} expected frames") as caught:
        indices.extend(frame.index for frame in open_source(path))
    read = len(indices)
    assert indices == list(range(read))
    assert 0.4 * COUNT < read < 0.7 * COUNT
    assert f": {read} of" in str(caught.value)

    lenient = open_source(path, on_error="skip")
    assert len(list(lenient)) >= read
    assert lenient.skipped >= 1


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "empty"), (b"this is no video" * 50, "cannot be opened as a video")]
)
def test_what_is_no_video(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(sdk.SourceError, match=message):
        open_source(path)


def test_closing_in_the_middle_closes_the_file(tmp_path: Path) -> None:
    source = open_source(record(tmp_path / "a.mkv", movie(8), "ffv1", "gray"))
    next(source)
    source.close()
    source.close()
    assert list(source) == []
