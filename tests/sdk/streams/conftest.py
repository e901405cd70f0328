# SPDX-License-Identifier: Apache-2.0
"""Sources that a test drives frame by frame, and a check that nothing is left behind."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper.sdk.sources import Frame, FrameTime, Source, SourceInfo

DEADLINE_S = 120.0


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition; fail after two minutes, which no machine needs."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"still waiting for: {what}"
        time.sleep(0.002)


def picture(number: int, shape: tuple[int, int] = (40, 48)) -> NDArray[np.uint16]:
    """A noisy frame with its number in the first two pixels and a target that depends on it."""
    image = np.random.default_rng(number).normal(7800, 12, shape).astype(np.uint16)
    image[8 + number % 20, 9] += 900
    image[0, 0], image[0, 1] = 7000 + number // 1000, 7000 + number % 1000
    return image


def number_of(image: NDArray[Any]) -> int:
    """The number that `picture` wrote."""
    return (int(image[0, 0]) - 7000) * 1000 + int(image[0, 1]) - 7000


@dataclass
class Script(Source):
    """A live source that does what its script says: a frame number, an exception, or a function to call.

    Attributes:
        given: Frames that the stream was given.
        closed_by: Names of the threads that closed it.
    """

    script: Any
    live: bool = True
    interval_ns: int = 40_000_000
    given: int = 0
    closed_by: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(SourceInfo("script", "script", fps=25.0, live=self.live))

    def _read(self) -> Iterator[Frame]:
        for step in self.script:
            if isinstance(step, BaseException):
                raise step
            if isinstance(step, Frame):
                self.given += 1
                yield step
            elif callable(step):
                step()
            else:
                self.given += 1
                yield Frame(picture(step), step, FrameTime.now(step * self.interval_ns))

    def _release(self) -> None:
        self.closed_by.append(threading.current_thread().name)


def adds_up(stats: Any, given: int) -> bool:
    """Every frame that was given to the stream is returned once or counted once, and none is waiting."""
    assert stats.waiting == 0, stats
    assert min([stats.processed, *stats.dropped.values()]) >= 0
    assert stats.captured - stats.dropped.get("unreadable", 0) == given, stats
    return bool(stats.captured == stats.processed + sum(stats.dropped.values()))


def _handles() -> Counter[str]:
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            found[os.readlink(f"/proc/self/fd/{name}")] += 1
        except OSError:
            continue  # The handle of the listing itself.
    return found


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """After the test there are the same threads and file handles as before it."""
    threads, handles = set(threading.enumerate()), _handles()
    yield
    if set(threading.enumerate()) <= threads and not _handles() - handles:
        return
    # Threads may be about to end, and a failed stream may hang in the traceback of its error.
    gc.collect()
    wait_until(lambda: set(threading.enumerate()) <= threads, "threads to end")
    left = _handles() - handles
    assert not left, f"file handles left open: {dict(left)}"
