# SPDX-License-Identifier: Apache-2.0
"""The launches of the engine ``torch-fused`` with their times, each by itself and not from its graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pitviper.core.manifest import Package
from pitviper.core.plan import build_plan
from pitviper.kernels.cost import Cost
from pitviper.sdk.profiling.timers import Timer, timed, timer_for

if TYPE_CHECKING:
    from pitviper.sdk.engines import EngineInfo

__all__ = ["LaunchRun", "launch_runs"]


@dataclass(frozen=True)
class LaunchRun:
    """One launch: its place and form, what ran it, its time in each round in ms, and what it cannot do without."""

    name: str
    kernel: str
    ms: tuple[float, ...]
    cost: Cost


def launch_runs(
    package: Package,
    info: EngineInfo,
    frame: NDArray[np.float32],
    rounds: int,
    *,
    timer: Timer | None = None,
) -> list[LaunchRun]:
    """Run the plan of a package launch by launch.

    Args:
        package: Verified weights package.
        info: Device and precision to repeat.
        frame: float32 [1, 1, Hp, Wp], standardised.
        rounds: Runs, all of which count.
        timer: None takes the device's own.
    """
    import torch

    from pitviper.sdk.engines.fused_net import FusedNet
    from pitviper.sdk.engines.fused_steps import Memory
    from pitviper.sdk.engines.torch_fused import dtype_of

    device = torch.device(info.device)
    backend: Literal["triton", "torch"] = "triton" if device.type == "cuda" else "torch"
    net = FusedNet(build_plan(package), device=device, dtype=dtype_of(info.precision), backend=backend)
    timer = timer or timer_for(device)
    with torch.inference_mode():
        memory = Memory(net.plan, (frame.shape[2], frame.shape[3]), device, net.dtype)
        given = torch.tensor(frame[0], device=device).to(net.dtype)
        steps = net.steps(memory, given)
        calls: list[Callable[[], object]] = [partial(net.convolve, step.cut, step.tensors) for step in steps]
        times = [timed(timer, calls) for _ in range(rounds)]
    net.close()
    return [
        LaunchRun(f"{index + 1:02d} {step.cut.described()}", backend, tuple(each), step.cut.cost())
        for index, (step, each) in enumerate(zip(steps, zip(*times, strict=True), strict=True))
    ]
