# SPDX-License-Identifier: Apache-2.0
"""`Stream`: frames of a source through a detector into sinks, as an iterator and a context manager."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from pitviper.sdk.detections import Detections
from pitviper.sdk.errors import InputError, SdkError, SourceLost, SourceTimeout
from pitviper.sdk.feeds import EveryFrame, Feed, NewestFrame
from pitviper.sdk.stream_stats import StageWindow, StreamStats

if TYPE_CHECKING:
    from pitviper.sdk.detector import Detector
    from pitviper.sdk.maps import ProbabilityMap
    from pitviper.sdk.sources import Frame, Source
    from pitviper.sdk.thermal import ThermalMonitor

__all__ = ["Stream", "StreamSettings", "StreamState", "close_all"]

StreamState = Literal["opening", "live", "stalled", "ended", "failed", "closed"]

_LOG = logging.getLogger("pitviper.stream")
_MODES = ("auto", "all", "latest")
_POLICIES = ("raise", "skip")


@dataclass(frozen=True)
class StreamSettings:
    """How a stream runs; see `Detector.stream` for what each means.

    Raises:
        InputError: A value out of range.
    """

    mode: str = "auto"
    threshold: float = 0.5
    timeout_s: float = 5.0
    every: int = 1
    keep_maps: bool = False
    on_error: str = "raise"

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise InputError(f"stream mode {self.mode!r} does not exist; there are {', '.join(_MODES)}")
        if self.on_error not in _POLICIES:
            raise InputError(f"on_error {self.on_error!r} does not exist; there are {', '.join(_POLICIES)}")
        if self.every < 1:
            raise InputError(f"every must be at least 1 (process every n-th frame), got {self.every}")
        if not self.timeout_s > 0:
            raise InputError(f"timeout_s must be above 0 seconds, got {self.timeout_s}")


class Stream:
    """Iterates over `Detections`, one per frame that is processed. Made by `Detector.stream`.

    Leave it through ``with``, or run it to its end: both close the source and the sinks, and so does any error,
    Ctrl-C included. What the sinks have written by then is valid. To be used by one thread.

    Attributes:
        frame: The source's frame that belongs to the last result, or None.
        tracker: The tracker that the stream was given, or None.
    """

    def __init__(
        self,
        detector: Detector,
        source: Any,
        settings: StreamSettings,
        sinks: Sequence[Any] = (),
        *,
        monitor: ThermalMonitor | None = None,
        tracker: Any = None,
    ) -> None:
        self.frame: Frame | None = None
        self.tracker = tracker
        self._monitor = monitor
        self._detector = detector
        self._sinks = tuple(sinks)
        self._settings = settings
        self._processed = 0
        self._failed = 0
        self._window = StageWindow()
        self._last_map: ProbabilityMap | None = None
        self._started: float | None = None
        self._seconds = 0.0
        self._state: StreamState = "opening"
        try:
            self._source = _opened(source, settings)
            self._live = bool(self._source.info.live)
            self._feed = _feed(self._source, settings, self._live)
        except BaseException:
            close_all(self._sinks, quietly=True)
            self._state = "failed"
            raise

    @property
    def state(self) -> StreamState:
        """``opening`` (no frame yet), ``live``, ``stalled`` (the source timed out or was lost), ``ended``,
        ``failed`` or ``closed``.
        """
        return self._state

    @property
    def stats(self) -> StreamStats:
        """Counts and times up to now."""
        # What the source could not read and was asked to skip counts as captured, so that the counts add up.
        unreadable = int(getattr(self._source, "skipped", 0))
        dropped = Counter(self._feed.dropped) + Counter(failed=self._failed, unreadable=unreadable)
        running = self._seconds if self._started is None else time.perf_counter() - self._started
        return StreamStats(
            captured=self._feed.captured + unreadable,
            processed=self._processed,
            dropped=dict(dropped),
            waiting=self._feed.waiting(),
            seconds=running,
            stages=self._window.spreads(),
        )

    def __iter__(self) -> Iterator[Detections]:
        return self

    def __next__(self) -> Detections:
        if self._state in ("ended", "failed", "closed", "stalled"):
            raise StopIteration
        if self._started is None:
            self._started = time.perf_counter()
        try:
            return self._step()
        except StopIteration:
            self._finish("ended")
            raise
        except BaseException as error:
            state: StreamState = "stalled" if isinstance(error, (SourceTimeout, SourceLost)) else "failed"
            self._finish(state, quietly=True)
            raise

    def _step(self) -> Detections:
        while True:
            try:
                return self._advance()
            except InputError as error:
                # Without a frame in hand it was the source that gave up, and it does not go on after that.
                if self._settings.on_error != "skip" or not self._failed:
                    raise
                self._failed = 0
                self._feed.dropped["refused"] += 1
                _LOG.warning("skipped %s", error)

    def _advance(self) -> Detections:
        if self._last_map is not None and not self._settings.keep_maps:
            self._last_map.release()
        asked = time.perf_counter_ns()
        frame = self._take()
        self._state = "live"
        # Counted as lost until its result is out, so that the counts add up whatever happens in between.
        self._failed = 1
        flags = tuple(frame.flags)
        try:
            if self._monitor is not None:
                flags = (*flags, *self._monitor.observe(frame.image, flags).flags)
            found = self._detector._detect_streamed(
                frame.image,
                self._settings.threshold,
                wait_ms=(time.perf_counter_ns() - asked) / 1e6,
                host_ns=frame.time.host_ns if self._live else None,
                frame_id=frame.index,
                time=frame.time,
                name=frame.name,
                flags=flags,
            )
            if self._monitor is not None:
                found = self._monitor.mark(found)
        except InputError as error:
            name = f" ({frame.name})" if frame.name else ""
            raise InputError(f"frame {frame.index}{name}: {error}") from error
        if self.tracker is not None:
            found = self._tracked(frame, found)
        for sink in self._sinks:
            sink.write(frame, found)
        self._failed = 0
        self._processed += 1
        self._window.add(found.timing)
        self._last_map = found.probability
        self.frame = frame
        return found

    def _tracked(self, frame: Frame, found: Detections) -> Detections:
        try:
            tracked: Detections = self.tracker.update(found, frame=frame)
        except InputError as error:
            # It is the tracker's settings that do not fit the source: not a frame that could be skipped.
            raise SdkError(f"frame {frame.index}: the tracker cannot go on: {error}") from error
        return tracked

    def _take(self) -> Frame:
        frame = self._feed.take()
        while frame.index % self._settings.every:
            self._feed.dropped["every"] += 1
            frame = self._feed.take()
        return frame

    def close(self) -> None:
        """Close the source and the sinks. Twice is fine.

        Raises:
            SinkError: A sink could not finish its output.
        """
        if self._state in ("opening", "live"):
            self._finish("closed")

    def _finish(self, state: StreamState, *, quietly: bool = False) -> None:
        self._state = state
        if self._started is not None:
            self._seconds = time.perf_counter() - self._started
            self._started = None
        try:
            self._feed.close()
        except Exception as error:
            _LOG.warning("closing the source: %s", error)
        finally:
            close_all(self._sinks, quietly=quietly)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        elif self._state in ("opening", "live"):
            self._finish("closed", quietly=True)


def close_all(sinks: Sequence[Any], *, quietly: bool) -> None:
    """Close every sink, also when one fails; ``quietly`` logs the failures because an error is on its way."""
    first: BaseException | None = None
    for sink in sinks:
        try:
            sink.close()
        except Exception as error:
            if quietly or first is not None:
                _LOG.error("closing an output: %s", error)
            else:
                first = error
    if first is not None:
        raise first


def _opened(source: Any, settings: StreamSettings) -> Source:
    if hasattr(source, "info") and hasattr(source, "close") and hasattr(source, "__iter__"):
        opened: Source = source
        return opened
    from pitviper.sdk.sources import open_source

    return open_source(source, timeout_s=settings.timeout_s, on_error=settings.on_error)


def _feed(source: Source, settings: StreamSettings, live: bool) -> Feed:
    if settings.mode == "latest" or (settings.mode == "auto" and live):
        return NewestFrame(source, settings.timeout_s)
    return EveryFrame(source)
