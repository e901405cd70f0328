# SPDX-License-Identifier: Apache-2.0
"""`FusedNet`: a plan of fused launches in torch, from standardised frames to probabilities. Imports torch."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pitviper.core.plan import Plan
from pitviper.kernels import tensors
from pitviper.kernels.conv_block.torch_op import OPERATION
from pitviper.sdk.engines.fused_queue import CudaQueue, HostQueue, Queue, Work
from pitviper.sdk.engines.fused_steps import Memory, Step, steps, weights_of

__all__ = ["SHAPES", "FusedNet"]

SHAPES: Final = 4
"""Sizes of frames whose memory and graphs are kept; the one that was not used for longest makes room."""
_SLOTS: Final = 2
"""Frames in flight: while one is computed, the next is copied to the device."""


@dataclass(frozen=True)
class _Slot:
    """One of the two inputs of a size: memory of the host for frame and map, the device's frame, recorded work."""

    given: Tensor
    frame: Tensor
    found: Tensor
    work: Work


class _Size:
    """Everything for frames of one size. It never moves, so that a graph can be replayed."""

    def __init__(self, net: FusedNet, shape: tuple[int, int]) -> None:
        self.memory = Memory(net.plan, shape, net.device, net.dtype)
        self.probability = torch.empty((1, *shape), device=net.device)
        self.slots = tuple(self._slot(net, shape) for _ in range(_SLOTS))
        self._turn = 0

    def next_slot(self) -> _Slot:
        """The slots by turns."""
        self._turn = (self._turn + 1) % _SLOTS
        return self.slots[self._turn]

    def _slot(self, net: FusedNet, shape: tuple[int, int]) -> _Slot:
        given, found = (net.queue.staging((1, *shape)) for _ in range(2))
        arrived = torch.zeros((1, *shape), device=net.device)
        frame = arrived if net.dtype == torch.float32 else torch.zeros_like(arrived, dtype=net.dtype)
        launches, convolve = net.steps(self.memory, frame), net.convolve
        logits, probability = self.memory.logits, self.probability

        def work() -> None:
            if frame is not arrived:
                frame.copy_(arrived)
            for step in launches:
                convolve(step.cut, step.tensors)
            torch.sigmoid(logits, out=probability)

        return _Slot(given, arrived, found, net.queue.recorded(work))


class FusedNet:
    """Runs a plan frame by frame, at most two in flight, with everything allocated at the first frame of a size.

    Maps that live at different times share one block of memory, as the plan says. On a CUDA device a frame is one copy
    and one CUDA graph, of which there is one for each size and input buffer. One thread may use it at a time.

    Args:
        plan: From `build_plan`.
        device: A CUDA device with its index, or the CPU.
        dtype: Of maps and weights: float16, bfloat16 or float32; sums and logits are float32.
        backend: ``triton``, the fused kernels; or ``torch``, the same launches in the same memory by the definition.
        queue: Where the work goes; None takes the device's own.

    Raises:
        BackendUnavailable: ``triton`` cannot run on that device.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        device: torch.device,
        dtype: torch.dtype,
        backend: Literal["triton", "torch"],
        queue: Queue | None = None,
    ) -> None:
        tensors.choose(OPERATION, backend, {"frames": torch.empty(0, device=device, dtype=dtype)})
        if backend == "triton":
            from pitviper.kernels.conv_block.triton_impl import convolve
        else:
            from pitviper.kernels.conv_block.torch_impl import convolve
        self.plan, self.device, self.dtype, self.convolve = plan, device, dtype, convolve
        if queue is None:
            queue = CudaQueue(device) if device.type == "cuda" else HostQueue()
        self.queue = queue
        with torch.inference_mode():
            self._weights = weights_of(plan, device, dtype)
        self._sizes: OrderedDict[tuple[int, int], _Size] = OrderedDict()
        self._flight: deque[tuple[_Slot, Work]] = deque()

    def steps(self, memory: Memory, frame: Tensor) -> tuple[Step, ...]:
        """The launches for a frame [1, Hp, Wp] in ``memory``."""
        return steps(self.plan, self._weights, memory, frame)

    def prepare(self, shape: tuple[int, int]) -> None:
        """Allocate and record for frames (Hp, Wp), so that the first is no slower than the others.

        Raises:
            ValueError: A side is no multiple of the plan's stride.
            RuntimeError: torch failed, for want of memory for instance; what was prepared before still runs.
        """
        with torch.inference_mode():
            self._size(shape)

    def submit(self, frame: NDArray[np.float32], *, log_odds: bool = False) -> None:
        """Begin a frame float32 [Hp, Wp], standardised, which is copied before this returns.

        Args:
            log_odds: Its result is what goes into the sigmoid.

        Raises:
            TypeError, ValueError: Not such a frame.
            RuntimeError: Two frames are in flight, or torch failed.
        """
        if not isinstance(frame, np.ndarray) or frame.dtype != np.float32 or frame.ndim != 2:
            raise TypeError(f"a frame is float32 [Hp, Wp], got {_said(frame)}; use standardise")
        if len(self._flight) == _SLOTS:
            raise RuntimeError(f"{_SLOTS} frames are in flight; poll the oldest first")
        # torch warns of memory that it may not write to, though this only reads it.
        given = torch.from_numpy(frame if frame.flags.writeable else frame.copy())
        with torch.inference_mode():
            size = self._size((frame.shape[0], frame.shape[1]))
            slot = size.next_slot()
            slot.given[0].copy_(given)
            self.queue.upload(slot.given, slot.frame)
            self.queue.run(slot.work)
            result = size.memory.logits if log_odds else size.probability
            self._flight.append((slot, self.queue.download(result, slot.found)))

    def poll(self) -> NDArray[np.float32]:
        """float32 [Hp, Wp], the probabilities (or log-odds) of the oldest frame in flight, memory of the caller's own.

        Raises:
            RuntimeError: None is in flight, or torch failed.
        """
        if not self._flight:
            raise RuntimeError("no frame is in flight; submit one first")
        slot, wait = self._flight.popleft()
        with torch.inference_mode():
            wait()
        found: NDArray[np.float32] = slot.found[0].numpy().copy()
        return found

    def run(self, frames: NDArray[np.float32], *, log_odds: bool = False) -> NDArray[np.float32]:
        """Probabilities float32 [N, 1, Hp, Wp] of standardised frames of that shape; none may be in flight.

        Args:
            log_odds: Give what goes into the sigmoid, float32 whatever the maps are.

        Raises:
            RuntimeError, TypeError, ValueError: As in `submit`; nothing is left in flight then.
        """
        if self._flight:
            raise RuntimeError(f"{len(self._flight)} submitted frames are in flight; poll them first")
        if frames.ndim != 4 or frames.shape[1] != 1:
            raise ValueError(f"frames must be [N, 1, Hp, Wp], got {list(frames.shape)}")
        found = np.empty(frames.shape, np.float32)
        try:
            for index, frame in enumerate(frames):
                self.submit(frame[0], log_odds=log_odds)
                if index:
                    found[index - 1, 0] = self.poll()
            if len(frames):
                found[-1, 0] = self.poll()
        except BaseException:
            self._abandon()
            raise
        return found

    def close(self) -> None:
        """Wait for what is in flight and let go of all memory. Twice is fine."""
        self._abandon()
        self._sizes.clear()

    def _abandon(self) -> None:
        self._flight.clear()
        with torch.inference_mode():
            self.queue.drain()

    def _size(self, shape: tuple[int, int]) -> _Size:
        if shape in self._sizes:
            self._sizes.move_to_end(shape)
            return self._sizes[shape]
        stride = self.plan.stride
        if min(shape) < 1 or shape[0] % stride or shape[1] % stride:
            raise ValueError(f"the sides of a frame are multiples of {stride}, got {shape}; use standardise")
        if len(self._sizes) == SHAPES:
            # A frame of that size may be in flight; its result lies in memory of the slot, which the flight keeps.
            self.queue.drain()
            self._sizes.popitem(last=False)
        self._sizes[shape] = _Size(self, shape)
        return self._sizes[shape]


def _said(frame: object) -> str:
    return f"{frame.dtype} {list(frame.shape)}" if isinstance(frame, np.ndarray) else type(frame).__name__
