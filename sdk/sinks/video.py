# SPDX-License-Identifier: Apache-2.0
"""Results as a video: the frames, tone-mapped, with brackets around the targets."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.draw import ToneMap, annotate
from pitviper.sdk.errors import SinkError
from pitviper.sdk.sinks.base import sink_error
from pitviper.sdk.sinks.fragments import drop_torn_fragment
from pitviper.sdk.trails import Trails

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections
    from pitviper.sdk.sources import Frame

__all__ = ["AnnotatedVideo"]

_LOG = logging.getLogger("pitviper.sinks")
_ENCODERS = ("libx264", "libopenh264", "mpeg4")
_SUFFIXES = (".mp4", ".mkv", ".mov", ".avi")
_DEFAULT_FPS = 25.0
_TRAIL_S = 2.0
# First libavformat (FFmpeg 7.1) that writes fragments and turns them into an ordinary MP4 at the end.
_HYBRID = (61, 7, 100)


class AnnotatedVideo:
    """A video of the frames with their targets and tracks marked, H.264 where the encoder is there, else MPEG-4.

    MP4 files are written in fragments of two seconds and made an ordinary MP4 on `close`: a file that meets a full
    disk ends with its last whole fragment, and one that is never closed plays up to it.

    Args:
        path: File to make: .mp4, .mkv, .mov or .avi.
        fps: Frames per second to play at; None plays at 25. Dropped frames leave no gap.
        scale: Whole factor of enlargement; None enlarges frames narrower than 640 pixels.

    Raises:
        SinkError: The file cannot be made, or its suffix is not one of these.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, fps: float | None = None, scale: int | None = None
    ) -> None:
        self._path = Path(path)
        if self._path.suffix.lower() not in _SUFFIXES:
            raise SinkError(f"{self._path}: a video needs one of the suffixes {', '.join(_SUFFIXES)}")
        self._fps = Fraction(fps or _DEFAULT_FPS).limit_denominator(1001)
        if self._fps <= 0:
            raise SinkError(f"{self._path}: fps must be above 0, got {fps}")
        self._scale = scale
        self._tone = ToneMap()
        self._trails = Trails(frames=max(2, round(_TRAIL_S * float(self._fps))))
        self._container: Any = None
        self._stream: Any = None
        self._count = 0
        self._size: tuple[int, int] | None = None
        self._closed = False
        self.encoder = ""
        try:
            # Found out now and not at the first frame; what is there is replaced only then.
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
        except OSError as error:
            raise sink_error(self._path, error) from error

    def write(self, frame: Frame, detections: Detections) -> None:
        """Draw and encode one frame. All frames must have the size of the first."""
        import av

        if self._closed:
            raise SinkError(f"{self._path}: already closed; open a new sink")
        shape = (int(frame.image.shape[0]), int(frame.image.shape[1]))
        if self._size not in (None, shape):
            raise SinkError(
                f"{self._path}: frame {frame.index} is {shape[1]}x{shape[0]} and the video is "
                f"{self._size[1]}x{self._size[0]}; write frames of several sizes to --masks or --json"
            )
        self._size = shape
        picture = annotate(frame, detections, tone=self._tone, scale=self._scale, trails=self._trails)
        picture = _even(picture)
        try:
            if self._container is None:
                self._start(picture.shape[1], picture.shape[0])
            encoded = av.VideoFrame.from_ndarray(picture, format="rgb24")
            encoded.pts = self._count
            encoded.time_base = 1 / self._fps
            for packet in self._stream.encode(encoded):
                self._container.mux(packet)
        except (av.FFmpegError, OSError) as error:
            self._abandon()
            raise sink_error(self._path, error) from error
        self._count += 1

    def _start(self, width: int, height: int) -> None:
        import av

        options = {}
        if self._path.suffix.lower() in (".mp4", ".mov"):
            hybrid = tuple(av.library_versions["libavformat"]) >= _HYBRID
            options["movflags"] = (
                "hybrid_fragmented" if hybrid else "frag_keyframe+empty_moov+default_base_moof"
            )
        self._container = av.open(str(self._path), "w", options=options)
        self.encoder = next(name for name in _ENCODERS if name in av.codecs_available)
        settings = {"libx264": {"preset": "veryfast", "crf": "18"}, "mpeg4": {"q:v": "3"}}.get(
            self.encoder, {}
        )
        stream = self._container.add_stream(self.encoder, rate=self._fps, options=settings)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = max(1, round(2 * self._fps))
        self._stream = stream
        if self.encoder == "mpeg4":
            _LOG.warning("%s: no H.264 encoder in this PyAV; the video is MPEG-4", self._path)
        else:
            _LOG.info("%s: %dx%d, %s", self._path, width, height, self.encoder)

    def _abandon(self) -> None:
        """After a failed write: let go of the file and leave its whole fragments."""
        self._closed = True
        container, self._container, self._stream = self._container, None, None
        if container is not None:
            with suppress(Exception):
                container.close()
            self._mend()

    def _mend(self) -> None:
        if self._path.suffix.lower() in (".mp4", ".mov"):
            with suppress(OSError):
                drop_torn_fragment(self._path)

    def close(self) -> None:
        """Encode what the encoder holds back and finish the file. A video without frames is removed."""
        import av

        if self._closed:
            return
        self._closed = True
        container, stream = self._container, self._stream
        self._container = self._stream = None
        if container is None:
            with suppress(OSError):
                if self._path.stat().st_size == 0 and self._path.is_file():
                    self._path.unlink()
            return
        try:
            try:
                for packet in stream.encode(None):
                    container.mux(packet)
            finally:
                container.close()
        except (av.FFmpegError, OSError) as error:
            self._mend()
            raise sink_error(self._path, error) from error


def _even(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the last row and column where needed: 4:2:0 video has even sides."""
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return picture
