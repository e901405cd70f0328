# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C and SIGTERM: a stream is drained, anything else is interrupted, and no signal is lost.

Python turns Ctrl-C into a KeyboardInterrupt wherever the program happens to be. Within the import of an extension
module that exception may vanish, or come out as an ImportError: Cython clears whatever is raised while it registers its
types. So what was received is remembered here, and looked at again where the program cannot lose it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final

__all__ = ["Interrupts", "check"]

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_DRAINING: Final = b"\npitviper: stopping after the frames that were captured; once more stops at once\n"
_active: Interrupts | None = None


class Interrupts:
    """Handles both signals while a command runs; a context manager, without effect outside the main thread.

    A signal that the parent process had ignored (as `nohup` and shells do for background jobs) stays ignored.

    Attributes:
        received: Number of the first signal that came, or None.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._drain: Callable[[], object] | None = None
        self._drained = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        global _active
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
            _active = self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _active
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if _active is self:
            _active = None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.received is not None
        self.received = number if self.received is None else self.received
        if self._drain is None or again:
            raise KeyboardInterrupt
        self._drained = True
        self._drain()
        # Not through sys.stderr: the handler may have interrupted a write to it.
        os.write(2, _DRAINING)

    @property
    def lost(self) -> bool:
        """Whether a signal came that should have ended the command; true also while its exception is on its way."""
        return self.received is not None and not self._drained

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal came, and the one that it raised was lost on its way."""
        if self.lost:
            raise KeyboardInterrupt

    @contextmanager
    def draining(self, drain: Callable[[], object]) -> Iterator[None]:
        """Within it the first signal calls ``drain`` and raises KeyboardInterrupt only at the end; the second at once.

        ``drain`` is called within the signal handler: it must neither wait nor take a lock.
        """
        self._drain = drain
        try:
            self.check()
            yield
        finally:
            self._drain = None
        if self.received is not None:
            raise KeyboardInterrupt


def check() -> None:
    """As `Interrupts.check` of the command that runs; nothing where none does."""
    if _active is not None:
        _active.check()


@contextmanager
def draining(drain: Callable[[], object]) -> Iterator[None]:
    """As `Interrupts.draining` of the command that runs; nothing where none does."""
    if _active is None:
        yield
        return
    with _active.draining(drain):
        yield
