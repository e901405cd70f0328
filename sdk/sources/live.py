# SPDX-License-Identifier: Apache-2.0
"""Live frames through PyAV: V4L2 cameras and RTSP streams."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pitviper.sdk.errors import SourceError, SourceLost, SourceTimeout
from pitviper.sdk.sources.frame import Frame, FrameTime, Source, SourceInfo
from pitviper.sdk.sources.planes import has_colour, to_plane, to_words
from pitviper.sdk.sources.video import picture_time_ns, stream_info, video_stream

__all__ = ["LiveSource", "open_camera", "redact"]

_LOG = logging.getLogger("pitviper.sources")
# Packets in a row that cannot be decoded, after which the stream is taken for lost: about a second.
_GIVE_UP: Final = 30
_USERINFO = re.compile(r"(?<=://)[^\s'\"]*@")
_SECRET = re.compile(
    r"(?i)([?&;](?:user|username|password|passwd|pwd|pass|token|auth|key|secret)=)[^&;\s'\"]*"
)


def redact(text: str) -> str:
    """The text with user, password and tokens of every URL replaced by `***`."""
    return _SECRET.sub(r"\1***", _USERINFO.sub("***@", text))


class LiveSource(Source):
    """A camera or a network stream that PyAV reads. It ends by `SourceLost`, by `SourceTimeout` or by `close`.

    A packet that cannot be decoded is counted in `skipped`, and the next frame is flagged ``after_gap``; opening the
    stream again for it would cost more frames.

    Args:
        url: What FFmpeg opens. Credentials in it never reach a message, a name or a log.
        kind: `camera` or `rtsp`.
        form: FFmpeg's input format, or None to let it probe.
        options: FFmpeg's options for that format.
        timeout_s: Longest wait in seconds for the connection, and then for each read, where the format can be
            interrupted: network streams can, a V4L2 device blocks until its driver gives up.
        words: Read packed 4:2:2 pictures as 16-bit words (`to_words`), for cameras that hide counts in them.
    """

    def __init__(
        self,
        url: str,
        *,
        kind: str,
        form: str | None,
        options: Mapping[str, str],
        timeout_s: float,
        words: bool = False,
    ) -> None:
        import av

        self._to_image = to_words if words else to_plane

        self._name = redact(url)
        self._timeout_s = timeout_s
        self._kind = kind
        super().__init__(SourceInfo(kind, self._name, live=True))
        failed: Exception | None = None
        started = time.monotonic()
        try:
            self._container: Any = av.open(
                url, format=form, options=dict(options), timeout=(timeout_s, timeout_s)
            )
        except (av.FFmpegError, OSError) as error:
            failed = self._explained(error, time.monotonic() - started)
        if failed is not None:
            # Raised outside the handler: FFmpeg's own error repeats the URL with its password.
            raise failed
        try:
            self._stream = video_stream(self._container, self._name)
            self.info = stream_info(self._container, kind=kind, name=self._name, live=True)
        except BaseException:
            self._container.close()
            raise
        _LOG.info("opened %s as %s", self._name, kind)

    def _read(self) -> Iterator[Frame]:
        base = ("lossy",) if self.info.lossy else ()
        pictures = self._pictures()
        index = 0
        gap: tuple[str, ...] = ()
        while True:
            picture, failed = self._next(pictures, index)
            if failed is not None:
                raise failed
            if picture is None:
                self.skipped += 1
                gap = ("after_gap",)
                continue
            if index == 0 and has_colour(picture):
                _LOG.warning("%s: colour pictures; only their luma is used", self._name)
                base = (*base, "colour_ignored")
            damaged = ("corrupt",) if picture.is_corrupt else ()
            time = FrameTime.now(picture_time_ns(picture))
            yield Frame(self._to_image(picture, self._name), index, time, None, base + damaged + gap)
            index, gap = index + 1, ()

    def _pictures(self) -> Iterator[Any]:
        """Decoded pictures, and None for each packet that could not be decoded."""
        import av

        failures = 0
        for packet in self._container.demux(self._stream):
            try:
                pictures = packet.decode()
            except av.InvalidDataError as error:
                failures += 1
                if failures >= _GIVE_UP:
                    raise
                if failures == 1:
                    _LOG.warning("%s: a packet cannot be decoded (%s)", self._name, error.strerror)
                yield None
                continue
            failures = 0
            yield from pictures

    def _next(self, pictures: Iterator[Any], index: int) -> tuple[Any, Exception | None]:
        """A picture, or None for a packet that cannot be decoded; or the error that ends the stream."""
        import av

        started = time.monotonic()
        try:
            return next(pictures), None
        except (StopIteration, av.EOFError):
            return None, SourceLost(f"{self._name}: the stream ended after {index} frames; open it again")
        except (av.FFmpegError, OSError) as error:
            cause = self._explained(error, time.monotonic() - started)
            if isinstance(cause, SourceTimeout):
                return None, cause
            return None, SourceLost(f"{self._name}: lost after {index} frames: {redact(str(error))}")

    def _explained(self, error: Exception, waited_s: float) -> SourceError:
        import av

        reason = redact(str(getattr(error, "strerror", None) or error))
        # A wait that was cut off has an error of its own in some protocols and "invalid data" in others.
        if isinstance(error, (av.ExitError, TimeoutError)) or waited_s >= self._timeout_s:
            return SourceTimeout(
                f"{self._name}: nothing came for {self._timeout_s:g} s; check address and network, or raise timeout_s"
            )
        if isinstance(error, (av.HTTPUnauthorizedError, av.HTTPForbiddenError)):
            return SourceError(f"{self._name}: refused ({reason}); check user and password in the URL")
        if isinstance(error, ConnectionRefusedError):
            return SourceError(
                f"{self._name}: connection refused; is the stream's server running, is the port right?"
            )
        if self._kind == "camera":
            return SourceError(
                f"{self._name}: cannot be opened ({reason}); is another program using the camera?"
            )
        return SourceError(f"{self._name}: cannot be opened ({reason}); try the address in a player first")

    def _release(self) -> None:
        self._container.close()


def open_camera(
    device: str, *, timeout_s: float, options: Mapping[str, str] | None = None, words: bool = False
) -> Source:
    """A V4L2 camera, for example /dev/video0.

    `options` go to FFmpeg's v4l2 input: input_format=gray16le (raw counts), video_size=640x512, framerate=30.
    `words` reads packed pictures as 16-bit words.

    Raises:
        SourceError: There is no such device, no permission, or it is in use.
    """
    if not os.path.exists(device):
        present = sorted(name for name in os.listdir("/dev") if re.fullmatch(r"video\d+", name))
        there = ", ".join(f"/dev/{name}" for name in present) or "none"
        raise SourceError(f"{device}: no such camera; present: {there}. Plug it in, or name one of these")
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceError(f"{device}: no permission; add the user to the group video and log in again")
    return LiveSource(
        device, kind="camera", form="v4l2", options=options or {}, timeout_s=timeout_s, words=words
    )
