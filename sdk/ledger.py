# SPDX-License-Identifier: Apache-2.0
"""Where each frame of a stream went: every one is returned once or counted once, by cause."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

__all__ = ["Ledger", "Tally"]


@dataclass(frozen=True)
class Tally:
    """The counts of a `Ledger` at one moment."""

    captured: int
    processed: int
    dropped: Mapping[str, int]
    flagged: Mapping[str, int]

    @property
    def waiting(self) -> int:
        """Frames that are neither returned nor dropped yet: in the buffer, or in work."""
        return self.captured - self.processed - sum(self.dropped.values())


class Ledger:
    """Counts frames, from any thread.

    The lock is a plain one and taken by `with` alone, so that a KeyboardInterrupt at any place leaves it free
    (`threading.Condition` and `Event` do not promise that).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._captured = 0
        self._processed = 0
        self._dropped: Counter[str] = Counter()
        self._flagged: Counter[str] = Counter()

    def capture(self) -> None:
        """Count a frame that came from the source."""
        with self._lock:
            self._captured += 1

    def process(self, flags: Iterable[str] = ()) -> None:
        """Count a frame whose result is returned with these flags."""
        with self._lock:
            self._processed += 1
            self._flagged.update(flags)

    def drop(self, cause: str, count: int = 1) -> None:
        """Count frames that will not be returned."""
        if count:
            with self._lock:
                self._dropped[cause] += count

    def drop_the_rest(self, cause: str) -> None:
        """Count what is still waiting as dropped: at the end, when nothing can be returned any more."""
        self.drop(cause, self.tally().waiting)

    def take_back(self, cause: str) -> None:
        """A frame that was counted as returned was never handed out."""
        with self._lock:
            self._processed -= 1
            self._dropped[cause] += 1

    def tally(self) -> Tally:
        """All counts at one moment."""
        with self._lock:
            return Tally(self._captured, self._processed, dict(self._dropped), dict(self._flagged))
