# SPDX-License-Identifier: Apache-2.0
"""Frames of a video file through PyAV, as deep as they were stored."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pitviper.sdk.errors import SourceError, SourceLost
from pitviper.sdk.sources.frame import SKIP_HINT, Frame, FrameTime, Source, SourceInfo
from pitviper.sdk.sources.planes import has_colour, to_plane

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = ["VideoFile", "picture_time_ns", "stream_info", "video_stream"]

_LOG = logging.getLogger("pitviper.sources")
_LOSSY = 1 << 1  # AV_CODEC_PROP_LOSSY of FFmpeg's codec_desc.h
# Errors in a row, without a packet between them, after which the rest of a file is given up.
_GIVE_UP = 16


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The first video stream of a container. Raises SourceError when there is none."""
    if not container.streams.video:
        raise SourceError(f"{name}: holds no video stream; pass a video of the camera")
    return container.streams.video[0]


def stream_info(container: InputContainer, *, kind: str, name: str, live: bool) -> SourceInfo:
    """What a video stream says about itself. Lossy: its codec may change values."""
    stream = video_stream(container, name)
    context = stream.codec_context
    rate = stream.average_rate or stream.guessed_rate
    return SourceInfo(
        kind,
        name,
        context.width or None,
        context.height or None,
        fps=float(rate) if rate else None,
        count=None if live else _frame_count(container, stream),
        live=live,
        lossy=bool(context.codec.properties & _LOSSY),
    )


def _frame_count(container: InputContainer, stream: VideoStream) -> int | None:
    if stream.frames:
        return int(stream.frames)
    rate, seconds = stream.average_rate, _seconds(container, stream)
    return round(seconds * rate) if rate and seconds is not None else None


def _seconds(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """Length as the file states it."""
    if stream.duration and stream.time_base:
        return stream.duration * stream.time_base
    return Fraction(container.duration, 1_000_000) if container.duration else None


def picture_time_ns(picture: av.VideoFrame) -> int | None:
    """Presentation time in nanoseconds, or None where the picture has none."""
    if picture.pts is None or picture.time_base is None:
        return None
    return round(picture.pts * picture.time_base * 1_000_000_000)


class VideoFile(Source):
    """A video file, from its first frame to its last.

    A file that ends early, or that breaks off with an error, delivers what it holds and then raises `SourceLost`
    with the counts; with `on_error="skip"` damage, an early end included, is counted in `skipped` and logged instead.

    Raises:
        SourceError: The file cannot be opened as a video.
    """

    def __init__(self, path: Path, *, on_error: str = "raise") -> None:
        import av

        self._path = path
        try:
            self._container: Any = av.open(str(path))
        except (av.FFmpegError, OSError) as error:
            raise SourceError(_opening_failed(path, error)) from error
        try:
            self._stream = video_stream(self._container, str(path))
            info = stream_info(self._container, kind="video", name=str(path), live=False)
            super().__init__(info, on_error=on_error, files=(path,))
        except BaseException:
            self._container.close()
            raise

    def _read(self) -> Iterator[Frame]:
        index, problem = 0, ""
        last: Any = None
        gap: tuple[str, ...] = ()
        base = ("lossy",) if self.info.lossy else ()
        for picture in self._pictures():
            if isinstance(picture, str):
                problem = picture
                self._skip(f"a packet after frame {index - 1} of {self._path}", self._lost(index, picture))
                gap = ("after_gap",)
                continue
            if index == 0 and has_colour(picture):
                _LOG.warning("%s: a colour video; only its luma is used", self._path)
                base = (*base, "colour_ignored")
            damaged = ("corrupt",) if picture.is_corrupt else ()
            image = to_plane(picture, str(self._path))
            last = picture
            yield Frame(image, index, FrameTime.now(picture_time_ns(picture)), None, base + damaged + gap)
            index, gap = index + 1, ()
        if index == 0 and not problem:
            raise SourceError(f"{self._path}: the video holds no frame; record or copy it again")
        # The count of some containers is an estimate from the duration, hence the small allowance.
        expected = self.info.count or 0
        if problem or expected - index <= max(1, expected // 50):
            return
        if self._reached_end(last):
            # A camera that paused leaves the same traces as damage that a demuxer leaps over.
            _LOG.warning(
                "%s: %d frames, where its rate and length would have %d: there are pauses in it, or damage in its "
                "middle; the first frame after each is flagged time_gap",
                self._path,
                index,
                expected,
            )
        else:
            self._skip(f"the end of {self._path}", self._lost(index, "the file ends early"))

    def _reached_end(self, last: Any) -> bool:
        """Whether the last picture lies where the file ends, up to 2 % of its length and three frames."""
        seconds, rate = _seconds(self._container, self._stream), self._stream.average_rate
        if seconds is None or last.pts is None or last.time_base is None:
            return False
        begin = (self._stream.start_time or 0) * last.time_base
        missing = seconds - (last.pts * last.time_base - begin)
        return bool(missing <= max(seconds / 50, 3 / rate if rate else 0))

    def _pictures(self) -> Iterator[Any]:
        """Decoded pictures, and a sentence for each packet that could not be read."""
        import av

        packets = self._container.demux(self._stream)
        failures = 0
        while failures < _GIVE_UP:
            try:
                packet = next(packets)
                pictures = packet.decode()
            except (StopIteration, av.EOFError):
                return
            except (av.FFmpegError, OSError) as error:
                failures += 1
                if self._on_error != "skip":
                    yield from self._held_back()
                yield str(error.strerror or error)
                # An error while demuxing ends the generator; start it again behind the damage.
                packets = self._container.demux(self._stream)
                continue
            failures = 0
            yield from pictures
            if packet.is_corrupt:
                yield "a packet is incomplete"

    def _held_back(self) -> list[Any]:
        """Pictures that the decoder keeps for reordering: they are whole, so damage behind them loses none."""
        import av

        try:
            return list(self._stream.codec_context.decode(None))
        except (av.FFmpegError, OSError):
            return []

    def _lost(self, index: int, reason: str) -> SourceLost:
        expected = f" of {self.info.count} expected" if self.info.count else ""
        hint = "" if self._on_error == "skip" else f"; {SKIP_HINT}"
        return SourceLost(
            f"{self._path}: {index}{expected} frames were read, then: {reason}. The file is truncated or damaged; "
            f"copy it again{hint}"
        )

    def _release(self) -> None:
        self._container.close()


def _opening_failed(path: Path, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    if isinstance(error, PermissionError):
        return f"{path}: no permission to read it; check its owner and mode"
    if path.stat().st_size == 0:
        return f"{path}: the file is empty (0 bytes); copy or record it again"
    return (
        f"{path}: cannot be opened as a video ({reason}); it is no video, or it was cut off before its index was "
        "written. Copy it again, or convert it: ffmpeg -i IN -c:v ffv1 OUT.mkv"
    )
