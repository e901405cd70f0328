# SPDX-License-Identifier: Apache-2.0
"""Results as a video: the frames, tone-mapped, with brackets around the targets."""

from __future__ import annotations

import itertools
import logging
import os
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.arguments import require_number
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
_MOST_FILES = 16
_MADE_HERE = "annotated by pitviper"
# First libavformat (FFmpeg 7.1) that writes fragments and turns them into an ordinary MP4 at the end.
_HYBRID = (61, 7, 100)


class AnnotatedVideo:
    """A video of the frames with their targets and tracks marked, H.264 where the encoder is there, else MPEG-4.

    MP4 files are written in fragments of two seconds and made an ordinary MP4 on `close`: a file that meets a full
    disk ends with its last whole fragment, and one that is never closed plays up to it.

    A video has one size. When the frames change theirs, the file is finished and a new one begun beside it:
    ``NAME-2.mp4``, ``NAME-3.mp4`` and so on, with the next number of which there is no file. Up to 16 files are made
    like that; the change after them is an error, because frames of ever new sizes are no video.

    Args:
        path: File to make: .mp4, .mkv, .mov or .avi.
        fps: Frames per second to play at; None plays at 25. Dropped frames leave no gap.
        scale: Whole factor of enlargement; None enlarges frames narrower than 640 pixels.

    Attributes:
        paths: The files, in the order in which they were begun.
        encoder: Name of the encoder, empty before the first frame.

    Raises:
        SinkError: The file cannot be made, its suffix is not one of these, or it is there and no such video: what was
            filmed is never replaced.
        InputError: ``fps`` is no number above 0.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, fps: float | None = None, scale: int | None = None
    ) -> None:
        self._path = Path(path)
        self._first = self._path
        self.paths = [self._path]
        if self._path.suffix.lower() not in _SUFFIXES:
            raise SinkError(
                f"{self._path}: a video needs one of the suffixes {', '.join(_SUFFIXES)}; annotated pictures go to a "
                "folder, --pictures DIR or sinks.Pictures(DIR)"
            )
        if fps is not None:
            require_number("fps", fps, above=0)
        self._fps = Fraction(_DEFAULT_FPS if fps is None else fps).limit_denominator(1001)
        self._scale = scale
        self._tone = ToneMap()
        self._trails = self._new_trails()
        self._container: Any = None
        self._stream: Any = None
        self._count = 0
        self._size: tuple[int, int] | None = None
        self._closed = False
        self.encoder = ""
        _require_own(self._path)
        try:
            # Found out now and not at the first frame; what is there is replaced only then.
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
        except OSError as error:
            raise sink_error(self._path, error) from error

    def _new_trails(self) -> Trails:
        return Trails(frames=max(2, round(_TRAIL_S * float(self._fps))))

    def _begin_next(self, index: int, old: tuple[int, int], new: tuple[int, int]) -> None:
        """Finish this file and go on in another: the size of the frames has changed."""
        change = f"frame {index} is {new[1]}x{new[0]} and the video is {old[1]}x{old[0]}"
        if len(self.paths) >= _MOST_FILES:
            raise SinkError(
                f"{self._path}: {change}, for the {_MOST_FILES}th time; write frames of ever new sizes to --pictures "
                "DIR"
            )
        # Closed for good if the old file cannot be finished or the new one not be made.
        self._closed = True
        self._finish()
        self._path = self._next_path()
        self._closed = False
        self.paths.append(self._path)
        self._count = 0
        # Positions of the old size mean nothing in the new one.
        self._trails = self._new_trails()
        _LOG.warning("%s; going on in %s", change, self._path)

    def _next_path(self) -> Path:
        """The next name that is free, taken: no file that anybody may want is replaced."""
        for number in itertools.count(2):
            path = self._first.with_stem(f"{self._first.stem}-{number}")
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
            except FileExistsError:
                continue
            except OSError as error:
                raise sink_error(path, error) from error
            return path
        raise AssertionError("unreachable")

    def write(self, frame: Frame, detections: Detections) -> None:
        """Draw and encode one frame."""
        import av

        if self._closed:
            raise SinkError(f"{self._path}: already closed; open a new sink")
        shape = (int(frame.image.shape[0]), int(frame.image.shape[1]))
        if self._size is not None and self._size != shape:
            self._begin_next(frame.index, self._size, shape)
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
        self._container.metadata["comment"] = _MADE_HERE
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
        if self._closed:
            return
        self._closed = True
        self._finish()

    def _finish(self) -> None:
        import av

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


def _require_own(path: Path) -> None:
    """Raise SinkError when there is a file that no `AnnotatedVideo` wrote: a glob that a shell took apart names one."""
    import av

    try:
        if not path.is_file() or path.stat().st_size == 0:
            return
        with av.open(str(path)) as container:
            # Matroska hands keys out in capitals.
            tags = {key.lower(): value for key, value in container.metadata.items()}
            if tags.get("comment") == _MADE_HERE:
                return
    except (av.FFmpegError, OSError):
        pass
    raise SinkError(
        f"{path}: exists and is no annotated video of pitviper, so it is not replaced; give the output another name, "
        "or remove the file. A pattern for INPUT needs quotes: 'videos/*.mp4'"
    )


def _even(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the last row and column where needed: 4:2:0 video has even sides."""
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return picture
