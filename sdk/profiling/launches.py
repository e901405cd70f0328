# SPDX-License-Identifier: Apache-2.0
"""The launches of the engines ``torch-fused`` and ``cuda`` with their times, each by itself and not from a graph."""

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
from pitviper.kernels.runtime import FusedRuntime, RuntimeFailure
from pitviper.sdk.errors import EngineError
from pitviper.sdk.profiling.floors import launch_costs
from pitviper.sdk.profiling.timers import Timer, clock_of, timed, timer_for

if TYPE_CHECKING:
    from pitviper.sdk.engines import EngineInfo

__all__ = ["LaunchRun", "launch_runs", "runtime_runs"]

_ITEMSIZE = {"fp32": 4, "fp16": 2}


@dataclass(frozen=True)
class LaunchRun:
    """One launch.

    Attributes:
        name: Its place in the frame and its form.
        operation: Its folder in ``kernels/``.
        kernel: What ran it.
        clock: What took the times: ``CUDA events`` or ``wall clock``.
        ms: Time in each round.
        cost: What it cannot do without.
    """

    name: str
    operation: str
    kernel: str
    clock: str
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
        LaunchRun(
            _name(index, step.cut.described()),
            "conv_block",
            backend,
            clock_of(timer),
            tuple(each),
            step.cut.cost(),
        )
        for index, (step, each) in enumerate(zip(steps, zip(*times, strict=True), strict=True))
    ]


def runtime_runs(
    package: Package, info: EngineInfo, frame: NDArray[np.uint16], rounds: int
) -> list[LaunchRun]:
    """Run a whole frame in the runtime without torch, launch by launch: `standardise` and `extract_targets` too.

    Args:
        package: Verified weights package.
        info: Device and precision to repeat.
        frame: [H, W], raw.
        rounds: Runs, all of which count.

    Raises:
        EngineError: The runtime failed.
    """
    plan, device = build_plan(package), info.device.split()[0]
    try:
        with FusedRuntime(plan.to_bytes(), device=device, half=info.precision == "fp16") as runtime:
            times = [runtime.profile(frame) for _ in range(rounds)]
    except RuntimeFailure as error:
        raise EngineError(f"the launches cannot be timed: {error}") from error
    costs = launch_costs(plan, (frame.shape[0], frame.shape[1]), itemsize=_ITEMSIZE[info.precision])
    return [
        LaunchRun(
            _name(index, name),
            times[0].launches[index].operation,
            device,
            times[0].clock,
            tuple(each.launches[index].ms for each in times),
            cost,
        )
        for index, (name, cost) in enumerate(costs)
    ]


def _name(index: int, form: str) -> str:
    return f"{index + 1:02d} {form}"
