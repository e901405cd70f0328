# SPDX-License-Identifier: Apache-2.0
"""One line on a terminal that is written over; nothing at all in a pipe."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TextIO

from pitviper.sdk.cli import signals

__all__ = ["ProgressLine"]

_EVERY_S = 0.2


class ProgressLine:
    """Shows how far a loop is, on stderr and only if that is a terminal. A context manager.

    Args:
        total: Steps that will come; None where nobody knows.
        stream: Instead of stderr.
        beside: Whether results are printed on stdout: on the same terminal the line would tear them, and is left out.
    """

    def __init__(self, total: int | None, *, stream: TextIO | None = None, beside: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._shown = self._stream.isatty() and not (beside and sys.stdout.isatty())
        self._total = total
        self._count = 0
        self._started = time.monotonic()
        self._next = self._started

    def step(self, note: str = "") -> None:
        """Count one, and show the line if the last time is long enough ago; end here if a signal came."""
        signals.check()
        self._count += 1
        now = time.monotonic()
        if self._shown and now >= self._next:
            self._next = now + _EVERY_S
            self._write(note, now - self._started)

    def _write(self, note: str, seconds: float) -> None:
        rate = self._count / seconds if seconds > 0 else 0.0
        text = f"{self._count} frames  {rate:.1f}/s  {note}"
        if self._total:
            left = (self._total - self._count) / rate if rate > 0 else 0.0
            text = f"{100 * self._count // self._total:3d}%  {text}  {left:.0f} s left"
        width = shutil.get_terminal_size().columns - 1
        self._stream.write("\r" + text[:width].ljust(width))
        self._stream.flush()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown and self._count:
            self._stream.write("\r" + " " * (shutil.get_terminal_size().columns - 1) + "\r")
            self._stream.flush()
