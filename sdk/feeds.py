# SPDX-License-Identifier: Apache-2.0
"""How frames get from a source to the detector: every one in order, or always the newest."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from pitviper.sdk.errors import SourceTimeout

if TYPE_CHECKING:
    from pitviper.sdk.sources import Frame, Source

__all__ = ["EveryFrame", "Feed", "NewestFrame"]

_LOG = logging.getLogger("pitviper.stream")


class Feed(Protocol):
    """Hands out frames and counts them."""

    captured: int
    dropped: Counter[str]

    def take(self) -> Frame:
        """The next frame. Raises StopIteration at the end of the source, and what the source raises."""
        ...

    def waiting(self) -> int:
        """Frames that were captured and not taken yet."""
        ...

    def close(self) -> None:
        """Close the source."""
        ...


class EveryFrame:
    """Reads the source in the caller's thread: every frame, in order, none dropped."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._frames: Iterator[Frame] = iter(source)
        self.captured = 0
        self.dropped: Counter[str] = Counter()

    def take(self) -> Frame:
        frame = next(self._frames)
        self.captured += 1
        return frame

    def waiting(self) -> int:
        return 0

    def close(self) -> None:
        self._source.close()


class NewestFrame:
    """A thread owns the source and keeps one frame; a frame that nobody took in time is dropped and counted."""

    def __init__(self, source: Source, timeout_s: float) -> None:
        self._source = source
        self._timeout_s = timeout_s
        self._changed = threading.Condition()
        self._slot: Frame | None = None
        self._error: BaseException | None = None
        self._ended = False
        self._stopping = False
        self.captured = 0
        self.dropped: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._capture, name="pitviper-capture", daemon=True)
        self._thread.start()

    def _capture(self) -> None:
        try:
            for frame in self._source:
                with self._changed:
                    self.captured += 1
                    if self._stopping:
                        self.dropped["closed"] += 1
                        break
                    if self._slot is not None:
                        self.dropped["newer"] += 1
                    self._slot = frame
                    self._changed.notify()
        except BaseException as error:
            # Whatever it was, the thread that waits for a frame has to hear of it.
            self._error = error
        finally:
            # Only this thread touches the source: decoders do not survive being closed in the middle of a read.
            try:
                self._source.close()
            except Exception as error:
                self._error = self._error or error
            with self._changed:
                self._ended = True
                self._changed.notify()

    def take(self) -> Frame:
        with self._changed:
            if not self._changed.wait_for(lambda: self._slot is not None or self._ended, self._timeout_s):
                raise SourceTimeout(
                    f"no frame for {self._timeout_s:g} s; is the camera running? "
                    "Raise timeout_s for a slower source"
                )
            frame, self._slot = self._slot, None
        if frame is not None:
            return frame
        if self._error is not None:
            raise self._error
        raise StopIteration

    def waiting(self) -> int:
        return int(self._slot is not None)

    def close(self) -> None:
        with self._changed:
            self._stopping = True
            if self._slot is not None:
                self._slot = None
                self.dropped["closed"] += 1
        # The source's own time limit ends a read that hangs; a thread that outlives it is a daemon.
        self._thread.join(self._timeout_s + 1.0)
        if self._thread.is_alive():
            _LOG.warning(
                "the source still hangs in a read after %g s and is left behind", self._timeout_s + 1.0
            )
