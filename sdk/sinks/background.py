# SPDX-License-Identifier: Apache-2.0
"""`Background`: a sink in a thread of its own, so that a slow disk does not make live answers late."""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from pitviper.sdk.arguments import require_whole
from pitviper.sdk.errors import InputError, SinkError
from pitviper.sdk.sinks.counts import OutputCounts, OutputStats
from pitviper.sdk.wakeup import Wakeup

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections
    from pitviper.sdk.sinks.base import Sink
    from pitviper.sdk.sources import Frame

__all__ = ["Background", "in_background"]

_DEPTH: Final = 16
"""Half a second at 30 frames a second; 16 frames of 640 x 512 with their maps are 32 MB."""
_PATIENCE_S: Final = 30.0
# Longest sleep of a waiting thread, should a wake-up ever go astray.
_SLICE_S: Final = 0.5
_LIVE_MODES: Final = ("latest", "fresh")


@dataclass
class _Queue:
    """What the two threads share. The thread holds this and not the `Background`, which can so be let go."""

    sink: Sink
    items: deque[tuple[Frame, Detections]] = field(default_factory=deque)
    lock: threading.Lock = field(default_factory=threading.Lock)
    filled: Wakeup = field(default_factory=Wakeup)
    room: Wakeup = field(default_factory=Wakeup)
    done: Wakeup = field(default_factory=Wakeup)
    counts: OutputCounts = field(default_factory=OutputCounts)
    error: BaseException | None = None
    closing: bool = False
    ended: bool = False
    left: bool = False
    moved_at: float = field(default_factory=time.monotonic)

    def kept(self) -> OutputStats | None:
        """What the sink itself counted, None if it does not."""
        found = getattr(self.sink, "stats", None)
        return found if isinstance(found, OutputStats) else None

    def finish(self) -> None:
        """Ask the thread to end when the queue is empty."""
        self.closing = True
        self.filled.set()


class Background:
    """Writes to a sink in a thread of its own, behind a queue of bounded length. Every result is counted.

    An error of the sink is raised by the next `write`, or by `close`. `close` writes what waits; it gives up when the
    sink has not finished a single result in 30 seconds, counts the rest as ``closed`` and raises.

    Args:
        sink: Any sink; it is used by that thread alone, and closed by `close`.
        depth: Results that may wait, each with its frame and its probability map.
        when_full: ``drop`` lets go of the oldest that waits and counts it (``slow``); ``wait`` makes `write` wait, so
            that nothing is lost and the stream slows down.

    Attributes:
        name: That of the sink, or of its class.

    Raises:
        InputError: ``depth`` is below 1, or ``when_full`` is neither of the two.

    Example:
        >>> sinks = [Background(JsonLines("out.jsonl"), depth=300)]          # doctest: +SKIP
    """

    when_slow: Final = "own"

    def __init__(
        self, sink: Sink, *, depth: int = _DEPTH, when_full: Literal["drop", "wait"] = "drop"
    ) -> None:
        require_whole("depth", depth, least=1, note=" (results)")
        if when_full not in ("drop", "wait"):
            raise InputError(f"when_full must be 'drop' or 'wait', got {when_full!r}")
        self.name = str(getattr(sink, "name", type(sink).__name__))
        self._depth = depth
        self._waits = when_full == "wait"
        self._queue = _Queue(sink)
        self._thread: threading.Thread | None = None
        self._closed = self._told = False
        # A sink that is dropped without being closed must not keep its thread.
        weakref.finalize(self, self._queue.finish)

    @property
    def stats(self) -> OutputStats:
        """Counts up to now, those of a sink that counts itself (`Callback`) included."""
        own, inner = self._queue.counts.stats(), self._queue.kept()
        if inner is None:
            return own
        dropped = Counter(own.dropped) + Counter(inner.dropped)
        waiting = max(0, own.given - inner.written - sum(dropped.values()))
        return OutputStats(own.given, inner.written, dict(dropped), waiting)

    def write(self, frame: Frame, detections: Detections) -> None:
        """Hand over one result; returns at once, unless the queue is full and ``when_full`` is ``wait``.

        Raises:
            Exception: What the sink raised at an earlier result. SinkError: Closed.
        """
        queue = self._queue
        if self._closed:
            raise SinkError(f"the output {self.name} is already closed; open a new sink")
        while self._waits and len(queue.items) >= self._depth and queue.error is None:
            queue.room.wait(_SLICE_S)
        if queue.error is not None:
            self._told = True
            raise queue.error
        if detections.probability is not None:
            # The stream lets go of its map at the next frame, and this one may be written after that.
            detections = replace(detections, probability=detections.probability.share())
        with queue.lock:
            if not queue.items:
                queue.moved_at = time.monotonic()
            if len(queue.items) >= self._depth:
                queue.items.popleft()
                queue.counts.drop("slow")
            queue.items.append((frame, detections))
            queue.counts.give()
        queue.filled.set()
        if self._thread is None:
            self._thread = threading.Thread(
                target=_write_all, args=(queue,), name=f"pitviper-{self.name}", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """Write what waits and close the sink. Twice is fine.

        Raises:
            Exception: What the sink raised. SinkError: It hangs, and what waited is lost and counted.
        """
        if self._closed:
            return
        self._closed = True
        queue = self._queue
        queue.finish()
        # Not Thread.join: interrupted by Ctrl-C it takes a running thread for one that has ended (CPython 3.11).
        while self._thread is not None and not queue.ended:
            queue.done.wait(_SLICE_S)
            if not queue.ended and time.monotonic() - queue.moved_at > _PATIENCE_S:
                self._leave_behind()
        # A result may have come in while the sink failed.
        queue.counts.drop("failed", self.stats.waiting)
        try:
            queue.sink.close()
        finally:
            if queue.error is not None and not self._told:
                raise queue.error

    def _leave_behind(self) -> None:
        queue = self._queue
        with queue.lock:
            queue.left = True
            queue.items.clear()
            left = self.stats.waiting
            queue.counts.drop("closed", left)
        raise SinkError(
            f"the output {self.name} has not finished a write for {_PATIENCE_S:g} s and is left behind; "
            f"{left} results are not written. Check its disk or its reader"
        )


def _write_all(queue: _Queue) -> None:
    """The thread: until it is asked to finish and nothing waits, or the sink raises."""
    try:
        while True:
            with queue.lock:
                item = queue.items.popleft() if queue.items else None
            if item is not None:
                queue.room.set()
                queue.sink.write(*item)
                with queue.lock:
                    # A result that was given up is counted already.
                    if queue.left:
                        return
                    queue.counts.write()
                queue.moved_at = time.monotonic()
            elif queue.closing:
                return
            else:
                queue.filled.wait(_SLICE_S)
    except BaseException as error:
        # Raised where the stream writes next; what waits behind it cannot be written any more.
        with queue.lock:
            queue.error = error
            queue.counts.drop("failed", len(queue.items) + (queue.kept() is None))
            queue.items.clear()
        queue.room.set()
    finally:
        queue.ended = True
        queue.done.set()


def in_background(sinks: Sequence[Any], mode: str) -> tuple[Any, ...]:
    """The sinks of a stream in this mode: behind a queue where a late answer is worse than a lost line.

    A sink says by its attribute ``when_slow`` what to do: ``drop`` (also without the attribute), ``wait`` for those
    that are worthless with gaps, such as `Recorder`, or ``own`` for those that never keep a stream waiting.
    """
    if mode not in _LIVE_MODES:
        return tuple(sinks)
    found: list[Any] = []
    for sink in sinks:
        policy: Any = getattr(sink, "when_slow", "drop")
        found.append(sink if policy == "own" else Background(sink, when_full=policy))
    return tuple(found)
