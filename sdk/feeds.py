# SPDX-License-Identifier: Apache-2.0
"""How frames get from a source to the detector: a thread reads them into a bounded buffer."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from pitviper.sdk.errors import SourceTimeout
from pitviper.sdk.ledger import Ledger
from pitviper.sdk.wakeup import Wakeup

if TYPE_CHECKING:
    from pitviper.sdk.sources import Frame, Source

__all__ = ["Feed", "FeedPlan", "FeedState"]

FeedState = Literal["opening", "live", "stalled", "reconnecting"]

_LOG = logging.getLogger("pitviper.stream")
# Longest sleep of a waiting thread, should a wake-up ever go astray.
_SLICE_S: Final = 0.5
# Sources of these kinds hand on arrays of the user's program, which may be written to again at the next frame.
_REUSED: Final = frozenset({"iterable", "callable"})


@dataclass(frozen=True)
class FeedPlan:
    """How the buffer between reader and detector works.

    Attributes:
        depth: Frames that it holds.
        blocks: Whether a full buffer stops the reader; otherwise the oldest frame is dropped (``newer``).
        max_age_s: Frames that waited longer are dropped (``stale``), None keeps them.
        every: Only every n-th frame of the source goes in (``every``).
        timeout_s: Longest wait for a frame while the source is not reconnecting.
        stall_s: Silence after which the state is ``stalled``.
    """

    depth: int = 1
    blocks: bool = False
    max_age_s: float | None = None
    every: int = 1
    timeout_s: float = 5.0
    stall_s: float = 1.0


class Feed:
    """Reads a source in a thread of its own, which alone touches the source, and hands its frames to one consumer.

    Decoders do not survive being closed in the middle of a read, so that thread also closes the source.
    """

    def __init__(self, source: Source, plan: FeedPlan, ledger: Ledger) -> None:
        self._source = source
        self._plan = plan
        self._ledger = ledger
        self._lock = threading.Lock()
        self._buffer: deque[tuple[float, Frame]] = deque()
        self._copies = getattr(source.info, "kind", "") in _REUSED
        self._filled, self._room = Wakeup(), Wakeup()
        self._error: BaseException | None = None
        self._ended = False
        self._stopping = False
        self._seen = 0
        self._lost = 0
        self._reading_since: float | None = time.monotonic()
        self._unanswered_since: float | None = None
        self._thread = threading.Thread(target=self._capture, name="pitviper-capture", daemon=True)
        self._thread.start()

    @property
    def state(self) -> FeedState:
        """What the source is doing at this moment."""
        if getattr(self._source, "recovering", False):
            return "reconnecting"
        if self._seen == 0:
            return "opening"
        since = self._reading_since
        silent = (
            since is not None and time.monotonic() - max(since, self._alive_at or 0.0) > self._plan.stall_s
        )
        return "stalled" if silent else "live"

    @property
    def _alive_at(self) -> float | None:
        """When a source that may be quiet on purpose last showed that it lives, by the monotonic clock.

        One that reconnects cuts its own reads off, says when it last tried, and needs the time to do so. One that waits
        for the time of a recorded frame says when it last did.
        """
        found: float | None = getattr(self._source, "alive_at", None)
        return found

    def _capture(self) -> None:
        try:
            self._read(iter(self._source))
        except BaseException as error:
            # Whatever it was, the thread that waits for a frame has to hear of it.
            self._error = error
        finally:
            try:
                self._source.close()
            except Exception as error:
                self._error = self._error or error
            self._reading_since = None
            self._ended = True
            self._filled.set()

    def _read(self, frames: Iterator[Frame]) -> None:
        while not self._stopping:
            if self._plan.blocks and len(self._buffer) >= self._plan.depth:
                self._room.wait(_SLICE_S)
                continue
            self._reading_since = time.monotonic()
            frame = next(frames, None)
            if frame is None:
                return
            arrived = time.monotonic()
            self._reading_since = None
            if self._copies:
                frame = replace(frame, image=frame.image.copy())
            self._store(arrived, frame)
            self._filled.set()

    def _store(self, arrived: float, frame: Frame) -> None:
        with self._lock:
            self._ledger.capture()
            self._seen += 1
            if self._stopping:
                self._ledger.drop("closed")
            elif frame.index % self._plan.every:
                self._ledger.drop("every")
            else:
                if not self._plan.blocks and len(self._buffer) >= self._plan.depth:
                    self._buffer.popleft()
                    self._lose("newer")
                self._buffer.append((arrived, frame))

    def _lose(self, cause: str) -> None:
        self._ledger.drop(cause)
        self._lost += 1

    def take(self, wait_s: float | None = None) -> tuple[Frame, int] | None:
        """The next frame, and how many were lost on purpose since the one before it.

        Args:
            wait_s: Return None when no frame came within this time; None waits for ``timeout_s`` and raises.

        Raises:
            StopIteration: The source is at its end, or the feed was stopped.
            SourceTimeout: Nothing came in time.
            Exception: What the source raised, after the frames before it.
        """
        asked = time.monotonic()
        if self._unanswered_since is None:
            self._unanswered_since = asked
        while True:
            # Read before the buffer: a frame that is stored after this look is seen at the next one.
            ended = self._ended
            taken = self._pop()
            if taken is not None:
                self._unanswered_since = None
                self._room.set()
                return taken
            if ended or self._stopping:
                error, self._error = self._error, None
                if error is not None and not self._stopping:
                    raise error
                raise StopIteration
            now = time.monotonic()
            patience = self._patience(now, self._unanswered_since)
            if wait_s is not None and now - asked >= wait_s and patience > 0:
                return None
            if patience <= 0:
                self._unanswered_since = None
                raise SourceTimeout(
                    f"no frame for {self._plan.timeout_s:g} s; is the camera running? "
                    "Raise timeout_s for a slower source"
                )
            left = patience if wait_s is None else min(patience, asked + wait_s - now)
            self._filled.wait(min(left, _SLICE_S))

    def _patience(self, now: float, asked: float) -> float:
        """Seconds that the source still has before it counts as silent."""
        since = self._reading_since
        if since is None:
            return self._plan.timeout_s
        alive_at = self._alive_at
        limit = self._plan.timeout_s * (1 if alive_at is None else 3)
        return max(asked, since, alive_at or 0.0) + limit - now

    def _pop(self) -> tuple[Frame, int] | None:
        with self._lock:
            while self._buffer:
                arrived, frame = self._buffer.popleft()
                oldest = self._plan.max_age_s
                if oldest is not None and time.monotonic() - arrived > oldest:
                    self._lose("stale")
                    continue
                lost, self._lost = self._lost, 0
                return frame, lost
            return None

    def take_ready(self) -> tuple[Frame, int] | None:
        """As `take`, but only what is in the buffer now."""
        taken = self._pop()
        if taken is not None:
            self._room.set()
        return taken

    def stop(self) -> None:
        """Ask the reader to stop; frames in the buffer can still be taken.

        It does not wait and takes no lock, so it may be called from any thread and from a signal handler.
        """
        self._stopping = True
        interrupt = getattr(self._source, "interrupt", None)
        if interrupt is not None:
            interrupt()
        self._room.set()
        self._filled.set()

    def close(self) -> None:
        """Stop the reader, wait for it, and count the frames that it left."""
        self.stop()
        # The source's own time limit ends a read that hangs; a thread that outlives it is a daemon.
        limit = min(self._plan.timeout_s + 1.0, threading.TIMEOUT_MAX)
        self._thread.join(limit)
        if self._thread.is_alive():
            _LOG.warning("the source still hangs in a read after %g s and is left behind", limit)
        with self._lock:
            self._ledger.drop("closed", len(self._buffer))
            self._buffer.clear()
