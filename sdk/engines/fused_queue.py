# SPDX-License-Identifier: Apache-2.0
"""Where a `FusedNet` puts its work: streams and graphs of a CUDA device, or the calling thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["CudaQueue", "HostQueue", "Queue"]

Work = Callable[[], None]


class Queue(Protocol):
    """Copies of frames and maps, and the launches between them, in the order in which they were asked for.

    A copy to the device may overlap the work of the frame before; nothing else overlaps.
    """

    def staging(self, shape: tuple[int, ...]) -> Tensor:
        """Memory of the host, float32, which is copied from and to."""
        ...

    def recorded(self, work: Work) -> Work:
        """``work`` made ready, so that `run` of the result does it with less ado.

        It may be run before this returns. The tensors that it uses must stay where they are.
        """
        ...

    def upload(self, given: Tensor, to: Tensor) -> None:
        """Copy to the device, before all work that is asked for later."""
        ...

    def run(self, recorded: Work) -> None:
        """Begin recorded work."""
        ...

    def download(self, found: Tensor, to: Tensor) -> Work:
        """Begin the copy of a result to the host; the answer waits for it."""
        ...

    def drain(self) -> None:
        """Wait for everything."""
        ...


class HostQueue:
    """`Queue` of the calling thread: every call is done when it returns."""

    def staging(self, shape: tuple[int, ...]) -> Tensor:
        """Ordinary memory."""
        return torch.empty(shape)

    def recorded(self, work: Work) -> Work:
        """``work`` itself."""
        return work

    def upload(self, given: Tensor, to: Tensor) -> None:
        """A copy."""
        to.copy_(given)

    def run(self, recorded: Work) -> None:
        """A call."""
        recorded()

    def download(self, found: Tensor, to: Tensor) -> Work:
        """A copy, and nothing to wait for."""
        to.copy_(found)
        return self.drain

    def drain(self) -> None:
        """Nothing is ever under way."""


class CudaQueue:
    """`Queue` of a CUDA device: one stream for copies to it, one for the rest; recorded work is a CUDA graph.

    Args:
        device: A CUDA device with its index.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        stream: Any = torch.cuda.Stream  # torch states no types for it
        self._uploads, self._work = stream(device), stream(device)

    def staging(self, shape: tuple[int, ...]) -> Tensor:
        """Page-locked memory, from which a copy runs beside the work."""
        return torch.empty(shape, pin_memory=True)

    def recorded(self, work: Work) -> Work:
        """The replay of ``work`` as one CUDA graph."""
        # The tensors were filled on the stream of the caller.
        self._work.wait_stream(torch.cuda.current_stream(self._device))
        with self._on(self._work):
            # Kernels are compiled and loaded at their first launch, which a capture does not allow.
            work()
            self._work.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Other threads of the application may go on using CUDA while this one captures.
        with (
            torch.cuda.device(self._device),
            torch.cuda.graph(graph, stream=self._work, capture_error_mode="thread_local"),
        ):
            work()
        return graph.replay

    def upload(self, given: Tensor, to: Tensor) -> None:
        """A copy on a stream of its own, which later work waits for."""
        with self._on(self._uploads):
            to.copy_(given, non_blocking=True)
        self._work.wait_event(self._uploads.record_event())

    def run(self, recorded: Work) -> None:
        """Replay behind what was asked for before."""
        with self._on(self._work):
            recorded()

    def download(self, found: Tensor, to: Tensor) -> Work:
        """A copy behind the work; the answer waits for this one only."""
        with self._on(self._work):
            to.copy_(found, non_blocking=True)
        finished: Work = self._work.record_event().synchronize
        return finished

    def drain(self) -> None:
        """Wait for both streams."""
        self._uploads.synchronize()
        self._work.synchronize()

    @contextlib.contextmanager
    def _on(self, stream: torch.cuda.Stream) -> Iterator[None]:
        with torch.cuda.device(self._device), torch.cuda.stream(stream):
            yield
