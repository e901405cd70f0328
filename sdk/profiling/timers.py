# SPDX-License-Identifier: Apache-2.0
"""Marks in the order of a device's work, and the time between two of them: CUDA events, or the clock of the host."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

__all__ = ["CudaTimer", "HostTimer", "Timer", "clock_of", "timed", "timer_for"]


class Timer(Protocol):
    """Takes times of work that may run behind the calling thread."""

    def mark(self) -> Any:
        """A point behind all work that was asked for so far."""
        ...

    def elapsed_ms(self, begun: Any, ended: Any) -> float:
        """Milliseconds between two marks; waits until both are reached."""
        ...


class HostTimer:
    """`Timer` of work that is done when its call returns; a mark is the clock in nanoseconds."""

    def mark(self) -> int:
        """Now."""
        return time.perf_counter_ns()

    def elapsed_ms(self, begun: int, ended: int) -> float:
        """The difference."""
        return (ended - begun) / 1e6


class CudaTimer:
    """`Timer` of the current CUDA stream of a device, by events, so that launching is not counted.

    Args:
        device: A CUDA device of torch.
    """

    def __init__(self, device: Any) -> None:
        import torch

        self._cuda: Any = torch.cuda
        self._device = device

    def mark(self) -> Any:
        """An event behind what stands in the stream."""
        event = self._cuda.Event(enable_timing=True)
        event.record(self._cuda.current_stream(self._device))
        return event

    def elapsed_ms(self, begun: Any, ended: Any) -> float:
        """What the device says, to half a microsecond."""
        ended.synchronize()
        return float(begun.elapsed_time(ended))


def timer_for(device: Any) -> Timer:
    """The timer of a device of torch."""
    return CudaTimer(device) if device.type == "cuda" else HostTimer()


def clock_of(timer: Timer) -> str:
    """What a timer reads, in words: ``CUDA events`` or ``wall clock``."""
    return "CUDA events" if isinstance(timer, CudaTimer) else "wall clock"


def timed(timer: Timer, calls: Sequence[Callable[[], object]]) -> list[float]:
    """Milliseconds of each of several calls, one behind the other; waited for only when all are under way."""
    marks = [timer.mark()]
    for call in calls:
        call()
        marks.append(timer.mark())
    return [timer.elapsed_ms(begun, ended) for begun, ended in itertools.pairwise(marks)]
