# SPDX-License-Identifier: Apache-2.0
"""What a live stream is doing, on one line of a terminal that is written over; nothing at all in a pipe."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from pitviper.sdk.stream import Stream

__all__ = ["StatusLine", "status_text"]

_EVERY_S: Final = 0.25
_RATE_S: Final = 2.0
# ANSI colours of the states that want to be looked at.
_COLOURS: Final = {"live": "32", "opening": "33", "stalled": "33", "reconnecting": "33", "failed": "31"}


class StatusLine:
    """Shows state, rates, age, drops and targets of a stream, also while no frame comes. A context manager.

    Args:
        stream: Looked at from a thread of its own, which runs only if there is a terminal.
        output: Where to; None takes stderr.
        colour: Whether the state is coloured (the caller knows of ``NO_COLOR``).
    """

    def __init__(self, stream: Stream, *, output: TextIO | None = None, colour: bool = True) -> None:
        self._stream = stream
        self._output = output or sys.stderr
        self._colour = colour
        self._targets = 0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._marks: deque[tuple[float, int, int]] = deque()

    def step(self, targets: int) -> None:
        """Take in the number of targets of the newest result."""
        self._targets = targets

    def _run(self) -> None:
        while not self._stopped.wait(_EVERY_S):
            width = shutil.get_terminal_size().columns - 1
            self._output.write("\r" + self._painted(self._text()[:width].ljust(width)))
            self._output.flush()

    def _text(self) -> str:
        stats, now = self._stream.stats, time.monotonic()
        self._marks.append((now, stats.captured, stats.processed))
        while len(self._marks) > 2 and now - self._marks[0][0] > _RATE_S:
            self._marks.popleft()
        then, captured, processed = self._marks[0]
        seconds = max(now - then, 1e-9)
        rates = ((stats.captured - captured) / seconds, (stats.processed - processed) / seconds)
        age = stats.stages.get("age_ms")
        return status_text(
            self._stream.state,
            rates,
            age_ms=None if age is None else (age.median, age.p99),
            dropped=stats.dropped.get("newer", 0) + stats.dropped.get("stale", 0),
            lost=stats.dropped.get("unreadable", 0) + stats.dropped.get("refused", 0),
            reconnects=stats.reconnects,
            targets=self._targets,
        )

    def _painted(self, text: str) -> str:
        word, rest, tail = text.partition(" ")
        colour = _COLOURS.get(word) if self._colour else None
        return f"\x1b[{colour}m{word}\x1b[0m{rest}{tail}" if colour else text

    def __enter__(self) -> StatusLine:
        if self._output.isatty():
            self._thread = threading.Thread(target=self._run, name="pitviper-status", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
            self._output.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
            self._output.flush()


def status_text(
    state: str,
    rates: tuple[float, float],
    *,
    age_ms: tuple[float, float] | None,
    dropped: int,
    lost: int,
    reconnects: int,
    targets: int,
) -> str:
    """One line: state, captured and processed frames per second, age (median, 99th percentile), losses, targets.

    The state comes first and what may be cut off last, for narrow terminals.
    """
    parts = [f"{state}  {rates[0]:.1f} in, {rates[1]:.1f} out/s"]
    if age_ms is not None:
        parts.append(f"age {age_ms[0]:.0f} ms (p99 {age_ms[1]:.0f})")
    parts.append(f"{targets} targets")
    parts += [f"{dropped} dropped"] if dropped else []
    parts += [f"{lost} unreadable"] if lost else []
    parts += [f"reconnected {reconnects}x"] if reconnects else []
    return "  ".join(parts)
