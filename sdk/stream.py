# SPDX-License-Identifier: Apache-2.0
"""`Stream`: frames of a source through a detector into sinks, as an iterator and a context manager."""

from __future__ import annotations

import logging
import time
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from pitviper.sdk.aliases import resolve_threshold
from pitviper.sdk.batches import detect_together
from pitviper.sdk.continuity import Continuity
from pitviper.sdk.detections import Detections
from pitviper.sdk.errors import InputError, SdkError
from pitviper.sdk.feeds import Feed, FeedState
from pitviper.sdk.ledger import Ledger
from pitviper.sdk.owners import claim, require_free
from pitviper.sdk.reconnect import Reconnect
from pitviper.sdk.stream_settings import StreamSettings
from pitviper.sdk.stream_stats import StageWindow, StreamStats

if TYPE_CHECKING:
    from pitviper.sdk.detector import Detector
    from pitviper.sdk.maps import ProbabilityMap
    from pitviper.sdk.sinks.counts import OutputStats
    from pitviper.sdk.sources import Frame, Source, SourceInfo
    from pitviper.sdk.thermal import ThermalMonitor

__all__ = ["Stream", "StreamState", "close_all"]

StreamState = Literal[FeedState, "ended", "failed", "closed"]

_LOG = logging.getLogger("pitviper.stream")


@dataclass
class _Work:
    """A frame in work: what was lost before it, how long it was waited for, and its result where that is known."""

    frame: Frame
    lost: int
    wait_ms: float
    found: Detections | InputError | None = None


class Stream:
    """Iterates over `Detections`, one per frame that is processed. Made by `Detector.stream`.

    Leave it through ``with``, or run it to its end: both close the source and the sinks, and so does any error,
    Ctrl-C included. What the sinks have written by then is valid. One thread iterates; `state`, `stats` and `stop`
    may be used by any other at any time.

    Attributes:
        frame: The source's frame that belongs to the last result, or None.
        tracker: The tracker that the stream was given, or None.
        info: What the source is.
        mode: ``all``, ``latest``, ``fresh`` or ``throughput``.
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
        self._sinks = _checked_sinks(sinks)
        _require_method(tracker, "update", "tracker", "sdk.Tracker()")
        _require_method(monitor, "observe", "monitor", "sdk.ThermalMonitor()")
        require_free(tracker=tracker, monitor=monitor)
        self._settings = settings
        self._threshold = settings.threshold
        self._ledger = Ledger()
        self._continuity = Continuity()
        self._refused = 0
        self._window = StageWindow()
        self._ready: deque[_Work] = deque()
        self._last_map: ProbabilityMap | None = None
        self._started: float | None = None
        self._seconds = 0.0
        self._final: Literal["ended", "failed", "closed"] | None = None
        self._stop: Literal["drain", "now"] | None = None
        try:
            self._source = _opened(source, settings)
            self.info: SourceInfo = self._source.info
            self.mode = settings.chosen_mode(bool(self.info.live))
            self._sinks = _arranged(self._sinks, self.mode)
            self._feed = Feed(self._source, settings.plan(self.mode), self._ledger)
        except BaseException:
            close_all(self._sinks, quietly=True)
            self._final = "failed"
            raise
        claim(self, tracker, monitor)
        # A stream that is dropped without being closed must not keep its reader and its camera.
        weakref.finalize(self, self._feed.stop)

    @property
    def state(self) -> StreamState:
        """What the stream is doing at this moment.

        - ``opening``: the source is open and has given no frame yet.
        - ``live``: frames come.
        - ``stalled``: for a second, or half of ``timeout_s`` where that is less, no frame has come.
        - ``reconnecting``: the source was lost and is being opened again.
        - ``ended``: the source came to its end. ``closed``: the stream was closed or stopped before that.
        - ``failed``: an error ended it, which was raised where the stream is iterated over.
        """
        return self._final or self._feed.state

    @property
    def threshold(self) -> float:
        """Probability that a pixel has to exceed. It may be set at any time, and holds from the next frame on.

        Raises:
            InputError: Not in [0, 1).
        """
        return self._threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        chosen = resolve_threshold(value, {}, "Stream.threshold")
        if chosen is None:
            raise InputError(
                "Stream.threshold must be a probability in [0, 1), got None; budgets and calibrations are given to "
                "stream(threshold=...)"
            )
        self._threshold = chosen

    @property
    def stats(self) -> StreamStats:
        """Counts and times up to now."""
        tally = self._ledger.tally()
        # What the source could not read and was asked to skip counts as captured, so that the counts add up.
        unreadable = int(getattr(self._source, "skipped", 0))
        dropped = {**tally.dropped, **({"unreadable": unreadable} if unreadable else {})}
        started = self._started
        return StreamStats(
            captured=tally.captured + unreadable,
            processed=tally.processed,
            dropped=dropped,
            waiting=tally.waiting,
            seconds=self._seconds if started is None else time.perf_counter() - started,
            stages=self._window.spreads(),
            flagged=tally.flagged,
            reconnects=int(getattr(self._source, "reconnects", 0)),
            outputs=_output_stats(self._sinks),
        )

    def __iter__(self) -> Iterator[Detections]:
        return self

    def __next__(self) -> Detections:
        found = self._next(None)
        assert found is not None
        return found

    def read(self, wait_s: float) -> Detections | None:
        """The next result, or None when there is none within ``wait_s`` seconds or any more: `state` tells which.

        Unlike iteration it never raises `SourceTimeout` before ``timeout_s`` is over.

        Raises:
            SdkError: As in iteration.
        """
        try:
            return self._next(max(wait_s, 0.0))
        except StopIteration:
            return None

    def _next(self, wait_s: float | None) -> Detections | None:
        if self._final is not None:
            raise StopIteration
        if self._started is None:
            self._started = time.perf_counter()
        try:
            if self._stop == "now":
                raise StopIteration
            return self._step(wait_s)
        except StopIteration:
            self._finish("ended" if self._stop is None else "closed")
            raise
        except BaseException:
            self._finish("failed", quietly=True)
            raise

    def _step(self, wait_s: float | None) -> Detections | None:
        if self._last_map is not None and not self._settings.keep_maps:
            self._last_map.release()
        while True:
            work = self._ready.popleft() if self._ready else self._take(wait_s)
            if work is None:
                return None
            try:
                found = self._found(work)
            except InputError as error:
                name = f" ({work.frame.name})" if work.frame.name else ""
                if self._settings.on_error != "skip":
                    raise InputError(f"frame {work.frame.index}{name}: {error}") from error
                self._ledger.drop("refused")
                self._refused += work.lost + 1
                _LOG.warning("skipped frame %d%s: %s", work.frame.index, name, error)
                continue
            self._refused = 0
            return self._handed_on(work.frame, found)

    def _take(self, wait_s: float | None) -> _Work | None:
        asked = time.perf_counter_ns()
        taken = self._feed.take(wait_s)
        if taken is None:
            return None
        waited = (time.perf_counter_ns() - asked) / 1e6
        if self.mode != "throughput":
            return _Work(*taken, waited)
        # What has gathered goes through the network together; nobody waits for a batch to fill.
        batch = [_Work(*taken, waited)]
        limit = self._settings.plan(self.mode).depth
        while len(batch) < limit and (more := self._feed.take_ready()) is not None:
            batch.append(_Work(*more, 0.0))
        for work, found in zip(batch, detect_together(self._detector, self._asked(batch)), strict=True):
            work.found = found
        self._ready.extend(batch[1:])
        return batch[0]

    def _asked(self, batch: Sequence[_Work]) -> list[dict[str, Any]]:
        return [{"frame": work.frame.image, **self._values(work)} for work in batch]

    def _values(self, work: _Work) -> dict[str, Any]:
        frame = work.frame
        return {
            "threshold": self._threshold,
            "wait_ms": work.wait_ms,
            "host_ns": frame.time.host_ns if self.info.live else None,
            "frame_id": frame.index,
            "time": frame.time,
            "name": frame.name,
        }

    def _found(self, work: _Work) -> Detections:
        frame = work.frame
        # What was lost before a refused frame is missing before the next one too, and that frame itself.
        flags = (*frame.flags, *self._continuity.see(frame, work.lost + self._refused))
        if self._monitor is not None:
            flags = (*flags, *self._monitor.observe(frame.image, flags).flags)
        if work.found is None:
            found = self._detector._detect_streamed(frame.image, flags=flags, **self._values(work))
        elif isinstance(work.found, InputError):
            raise work.found
        else:
            found = work.found.with_flags(*flags)
        return found if self._monitor is None else self._monitor.mark(found)

    def _handed_on(self, frame: Frame, found: Detections) -> Detections:
        """Through the tracker and the sinks, and counted."""
        if self.tracker is not None:
            try:
                found = self.tracker.update(found, frame=frame)
            except InputError as error:
                # It is the tracker's settings that do not fit the source: not a frame that could be skipped.
                raise SdkError(f"frame {frame.index}: the tracker cannot go on: {error}") from error
        for sink in self._sinks:
            sink.write(frame, found)
        self._window.add(found.timing)
        self._last_map = found.probability
        self.frame = frame
        self._ledger.process(found.flags)
        return found

    def stop(self, *, drain: bool = True) -> None:
        """Ask the stream to end, from any thread or a signal handler; returns at once.

        Args:
            drain: Frames that were captured are still processed; False counts them as dropped (``closed``).
        """
        self._stop = "now" if not drain or self._stop == "now" else "drain"
        self._feed.stop()

    def take_back(self) -> None:
        """The last result was never handed out to anyone: count its frame as ``closed`` and not as processed."""
        self._ledger.take_back("closed")

    def close(self) -> None:
        """Close the source and the sinks. Twice is fine.

        Raises:
            SinkError: A sink could not finish its output.
        """
        self._finish("closed")

    def _finish(self, final: Literal["ended", "failed", "closed"], *, quietly: bool = False) -> None:
        if self._final is not None:
            return
        self._final = final
        if self._started is not None:
            self._seconds = time.perf_counter() - self._started
            self._started = None
        try:
            self._feed.close()
        except Exception as error:
            _LOG.warning("closing the source: %s", error)
        finally:
            self._ledger.drop("closed", len(self._ready))
            self._ready.clear()
            self._ledger.drop_the_rest("failed" if final == "failed" else "closed")
            close_all(self._sinks, quietly=quietly)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._finish("closed", quietly=error is not None)


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


def _checked_sinks(sinks: Any) -> tuple[Any, ...]:
    if not isinstance(sinks, Sequence) or isinstance(sinks, str):
        raise InputError(f"sinks is a sequence of sinks, got {sinks!r}; put one into a list")
    for sink in sinks:
        if isinstance(sink, type) or not all(
            callable(getattr(sink, name, None)) for name in ("write", "close")
        ):
            raise InputError(
                f"{sink!r} is no sink, which has write and close; wrap a function in pitviper.sdk.sinks.Callback, "
                "and open paths with pitviper.sdk.sinks.open_sinks"
            )
    return tuple(sinks)


def _require_method(given: Any, method: str, name: str, example: str) -> None:
    if given is not None and (isinstance(given, type) or not callable(getattr(given, method, None))):
        raise InputError(f"{name} has no {method}: got {given!r}; pass an object such as {example}")


def _arranged(sinks: tuple[Any, ...], mode: str) -> tuple[Any, ...]:
    """The sinks as `in_background` arranges them; imported here, because a program without outputs needs none of it."""
    if not sinks:
        return sinks
    from pitviper.sdk.sinks.background import in_background

    return in_background(sinks, mode)


def _output_stats(sinks: tuple[Any, ...]) -> dict[str, OutputStats]:
    if not sinks:
        return {}
    from pitviper.sdk.sinks.counts import collect

    return collect(sinks)


def _opened(source: Any, settings: StreamSettings) -> Source:
    if hasattr(source, "info") and hasattr(source, "close") and hasattr(source, "__iter__"):
        if isinstance(settings.reconnect, Reconnect):
            raise InputError(
                "an opened source cannot be opened again, so reconnect= has no use for it; pass its address or function"
            )
        opened: Source = source
        return opened
    from pitviper.sdk.reconnect import open_reconnecting

    return open_reconnecting(
        source, settings.reconnect, timeout_s=settings.timeout_s, on_error=settings.on_error
    )
