# SPDX-License-Identifier: Apache-2.0
"""A wake-up call between threads that may come from a signal handler."""

from __future__ import annotations

import threading
from contextlib import suppress

__all__ = ["Wakeup"]


class Wakeup:
    """Like an event that resets itself, for one waiting thread.

    It is one lock that is taken and released in C. `threading.Event` takes a lock in Python: a signal handler that
    interrupts its `set` and calls it again waits for itself for ever, and a KeyboardInterrupt in it can leave the
    lock taken.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the waiting thread, or the next one that waits."""
        # Released already: the call is still to be heard, and one is enough.
        with suppress(RuntimeError):
            self._lock.release()

    def wait(self, seconds: float) -> bool:
        """Wait until `set` is called, at most so long; whether it was."""
        return self._lock.acquire(timeout=min(max(seconds, 0.0), threading.TIMEOUT_MAX))
