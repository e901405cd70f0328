# SPDX-License-Identifier: Apache-2.0
"""What an output with a queue of its own did with the results that it was given."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["OutputCounts", "OutputStats", "collect"]


@dataclass(frozen=True)
class OutputStats:
    """Counts since the output was opened. ``given = written + dropped + waiting`` at any time.

    Attributes:
        given: Results that the stream handed to it.
        written: Those that it has written, sent or passed to a function.
        dropped: Those that it has not and will not, by cause: ``slow`` (a newer one took the place in the full
            queue), ``offline`` (the same, while there was no connection), ``failed`` (an error ended the output,
            or the function raised), ``closed`` (left over when the time for closing was up).
        waiting: Those in its queue and in work.
        connected: Whether there is a connection; None for outputs that need none.
        reconnects: Times that a lost connection came back.
    """

    given: int
    written: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    connected: bool | None = None
    reconnects: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, safe for JSON."""
        return {**vars(self), "dropped": dict(self.dropped)}


class OutputCounts:
    """The counts behind an `OutputStats`, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given = 0
        self._written = 0
        self._dropped: Counter[str] = Counter()

    def give(self) -> None:
        """Count a result that was handed over."""
        with self._lock:
            self._given += 1

    def write(self) -> None:
        """Count a result as written."""
        with self._lock:
            self._written += 1

    def drop(self, cause: str, count: int = 1) -> None:
        """Count results that will not be written."""
        if count:
            with self._lock:
                self._dropped[cause] += count

    def stats(self, *, connected: bool | None = None, reconnects: int = 0) -> OutputStats:
        """All counts at one moment."""
        with self._lock:
            waiting = self._given - self._written - sum(self._dropped.values())
            return OutputStats(
                self._given, self._written, dict(self._dropped), waiting, connected, reconnects
            )


def collect(sinks: Iterable[Any]) -> dict[str, OutputStats]:
    """The counts of those sinks that keep any, by their ``name``; the second of a name has a number behind it."""
    found: dict[str, OutputStats] = {}
    for sink in sinks:
        stats = getattr(sink, "stats", None)
        if isinstance(stats, OutputStats):
            name = wanted = str(getattr(sink, "name", type(sink).__name__))
            number = 1
            while name in found:
                number += 1
                name = f"{wanted}-{number}"
            found[name] = stats
    return found
