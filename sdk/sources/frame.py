# SPDX-License-Identifier: Apache-2.0
"""What every source hands out, and the base of all sources."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from numpy.typing import NDArray

if TYPE_CHECKING:
    from pitviper.sdk.cameras import Telemetry

__all__ = ["SKIP_HINT", "Frame", "FrameTime", "Source", "SourceInfo"]

SKIP_HINT = 'on_error="skip" (pitviper detect: --on-error skip) leaves out what cannot be read'
_SLICE_S: Final = 0.1

_LOG = logging.getLogger("pitviper.sources")


@dataclass(frozen=True)
class FrameTime:
    """When a frame was taken and when it came, in nanoseconds.

    `sensor_ns`: the source's own clock (presentation time of a video, time of the scene), None where it has none.
    `host_ns`: this machine's monotonic clock on arrival. `utc_ns`: UTC on arrival, from the Unix epoch.
    """

    sensor_ns: int | None
    host_ns: int
    utc_ns: int

    @classmethod
    def now(cls, sensor_ns: int | None = None) -> FrameTime:
        """The time of a frame that arrives at this moment."""
        return cls(sensor_ns, time.monotonic_ns(), time.time_ns())


@dataclass(frozen=True)
class Frame:
    """One frame of a source.

    - `image`: [H, W], uint8, uint16, float16 or float32, in the units of the source; never rescaled.
    - `index`: position in the source from 0. A frame that was skipped leaves a gap.
    - `name`: file name where there is one.
    - `flags`: `lossy` (a codec has changed the values), `colour_ignored` (only luma was taken of a colour picture),
      `corrupt` (the decoder concealed damage), `after_gap` (frames before this one were skipped); with a camera
      profile also those of `CameraSource`.
    - `telemetry`: what the camera says of the frame, where its profile reads that.
    """

    image: NDArray[Any]
    index: int
    time: FrameTime
    name: str | None = None
    flags: tuple[str, ...] = ()
    telemetry: Telemetry | None = None


@dataclass(frozen=True)
class SourceInfo:
    """What a source is.

    `name` carries no credentials. `width` and `height` in pixels, `fps` in frames per second and `count` (frames
    in the source) are None where they are not known before reading; the count of a video is what its container
    says. `live`: frames come at the camera's pace. `lossy`: a codec has changed the values.
    """

    kind: str
    name: str
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    count: int | None = None
    live: bool = False
    lossy: bool = False


class Source(ABC):
    """Frames in order: an iterator and a context manager. To be read and closed by one thread.

    Attributes:
        info: What the source is.
        skipped: Frames that could not be read and were left out, with `on_error="skip"`.
        files: Files that are read, which no output may replace.
    """

    def __init__(self, info: SourceInfo, *, on_error: str = "raise", files: tuple[Path, ...] = ()) -> None:
        self.info = info
        self.files = files
        self.skipped = 0
        self._on_error = on_error
        self._frames: Iterator[Frame] | None = None
        self._closed = False
        self._interrupted = False
        self._alive_at: float | None = None

    @property
    def alive_at(self) -> float | None:
        """When a source that waits on purpose last did, by the monotonic clock: that is no silence. Else None."""
        return self._alive_at

    @abstractmethod
    def _read(self) -> Iterator[Frame]:
        """Generate the frames; called once."""

    def _release(self) -> None:  # noqa: B027 - most sources hold nothing between frames
        """Give back files and devices; called once."""

    def interrupt(self) -> None:
        """Ask a read that waits for a frame to end, from any thread or a signal handler; then iteration ends.

        A read inside FFmpeg or a driver does not hear it and ends by its time limit.
        """
        self._interrupted = True

    def _wait_until(self, due: float) -> None:
        """Sleep until the monotonic clock reaches ``due`` seconds, awake for an interrupt, and alive meanwhile."""
        while (left := due - time.monotonic()) > 0 and not self._interrupted:
            self._alive_at = time.monotonic()
            time.sleep(min(left, _SLICE_S))
        self._alive_at = time.monotonic()

    def _skip(self, what: str, error: Exception) -> None:
        """Count and report what could not be read, or raise the error if that is the policy."""
        if self._on_error != "skip":
            raise error
        self.skipped += 1
        _LOG.warning("skipped %s: %s", what, error)

    def __iter__(self) -> Source:
        return self

    def __next__(self) -> Frame:
        if self._closed:
            raise StopIteration
        if self._frames is None:
            self._frames = self._read()
        try:
            return next(self._frames)
        except BaseException:
            # The end, or an error after which nothing more can come: files and devices are not kept for it.
            self.close()
            raise

    def close(self) -> None:
        """Let go of files and devices; iteration ends. Twice is fine."""
        if self._closed:
            return
        self._closed = True
        try:
            close = getattr(self._frames, "close", None)
            if close is not None:
                close()
        finally:
            self._release()

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
