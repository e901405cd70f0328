# SPDX-License-Identifier: Apache-2.0
"""The time that no implementation of a plan can go below on a device: a floor, never a measurement."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pitviper.core.manifest import Package
from pitviper.core.plan import Launch, Op, Plan, PlanError, build_plan
from pitviper.kernels.conv_block.cost import coarse_cost, conv_block_cost, merge_cost
from pitviper.kernels.cost import Cost, total
from pitviper.kernels.extract_targets.cost import extract_targets_cost
from pitviper.kernels.residual_block.cost import residual_block_cost
from pitviper.kernels.standardise.cost import standardise_cost
from pitviper.sdk.boards import Board
from pitviper.sdk.errors import EngineUnavailable

__all__ = ["LaunchFloor", "launch_costs", "static_report"]

_LOGIT: Final = 4
"""Bytes of a logit: the map between the last convolution and `extract_targets` is float32."""


@dataclass(frozen=True)
class LaunchFloor:
    """One launch of a frame on a board.

    Attributes:
        name: What it computes, with channels and size of its output.
        cost: What it cannot do without.
        floor_ms: The longer of bytes over bandwidth and operations over rate.
        bound: Which of the two: ``memory`` or ``arithmetic``.
    """

    name: str
    cost: Cost
    floor_ms: float
    bound: str

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, safe for JSON."""
        return {
            "name": self.name,
            "bytes": self.cost.bytes_moved,
            "operations": self.cost.operations,
            "floor_ms": self.floor_ms,
            "bound": self.bound,
        }


def static_report(package: Package, board: Board, shape: tuple[int, int]) -> list[LaunchFloor]:
    """Floors of every launch that takes one uint16 frame to its targets, in fp16, batch 1.

    Args:
        package: Verified weights package.
        board: Whose bandwidth and rate.
        shape: (H, W) of the frame.

    Raises:
        EngineUnavailable: The fused kernels do not run the network, so there is no plan of it.
    """
    try:
        plan = build_plan(package)
    except PlanError as error:
        raise EngineUnavailable(f"no floor on a board: {error}") from error
    report = []
    for name, cost in launch_costs(plan, shape):
        memory = cost.bytes_moved / board.gigabytes_per_s
        arithmetic = cost.operations / board.gigaoperations_per_s
        floor = cost.floor_ms(
            gigabytes_per_s=board.gigabytes_per_s, gigaoperations_per_s=board.gigaoperations_per_s
        )
        report.append(LaunchFloor(name, cost, floor, "memory" if memory >= arithmetic else "arithmetic"))
    return report


def launch_costs(plan: Plan, shape: tuple[int, int], *, itemsize: int = 2) -> Iterator[tuple[str, Cost]]:
    """Name and cost of each launch, `standardise` and `extract_targets` included.

    Args:
        plan: From `build_plan`.
        shape: (H, W) of a frame in uint16.
        itemsize: Bytes of an activation and of a weight.
    """
    height, width = shape
    padded = (height + -height % plan.stride, width + -width % plan.stride)
    yield "standardise", standardise_cost(shape, stride=plan.stride, itemsize=itemsize)
    for launch in plan.launches:
        yield _name(plan, launch, padded), _launch_cost(plan, launch, padded, itemsize)
    yield "extract_targets", extract_targets_cost((1, height, width), itemsize=_LOGIT)


def _launch_cost(plan: Plan, launch: Launch, padded: tuple[int, int], itemsize: int) -> Cost:
    """Of the launch as a whole: what stays on the chip between its parts costs no bytes, and each map is read once."""
    source, channels = _map(plan, launch.source, padded), launch.channels
    if launch.op is Op.RESIDUAL:
        if launch.residual == launch.source:
            return residual_block_cost(source, itemsize=itemsize)
        first = conv_block_cost(source, channels, itemsize=itemsize)
        second = conv_block_cost((*source[:3], channels), channels, itemsize=itemsize)
        between = first.bytes_written
        return Cost(
            first.bytes_read + second.bytes_read - between,
            second.bytes_written,
            first.operations + second.operations,
        )
    parts = [
        conv_block_cost(
            source,
            channels,
            kernel=launch.kernel,
            stride=launch.stride,
            upsample=launch.upsample,
            addend=launch.residual >= 0,
            outputs=launch.outputs,
            itemsize=itemsize,
        )
    ]
    if launch.low >= 0:
        low_channels = plan.values[launch.low].channels
        parts.append(merge_cost(source, low_channels, scale=launch.merge_scale, itemsize=itemsize))
    if launch.coarse >= 0:
        parts.append(coarse_cost(_map(plan, launch.coarse, padded), itemsize=itemsize))
    whole = total(parts)
    again = Counter(launch.reads()) - Counter(set(launch.reads()))
    repeated = sum(math.prod(_map(plan, value, padded)) for value in again.elements()) * itemsize
    return Cost(whole.bytes_read - repeated, whole.bytes_written, whole.operations)


def _map(plan: Plan, value: int, padded: tuple[int, int]) -> tuple[int, int, int, int]:
    """[1, H, W, C] of a map as the convolution that reads it sees it: the frame after its space-to-depth."""
    if value == 0:
        return 1, padded[0] // plan.block, padded[1] // plan.block, plan.block**2
    found = plan.values[value]
    return 1, padded[0] // found.divisor, padded[1] // found.divisor, found.channels


def _name(plan: Plan, launch: Launch, padded: tuple[int, int]) -> str:
    source = _map(plan, launch.source, padded)
    rows, columns = (
        -(-source[1] // launch.stride) * launch.upsample,
        -(-source[2] // launch.stride) * launch.upsample,
    )
    parts = ["residual" if launch.op is Op.RESIDUAL else f"conv {launch.kernel}x{launch.kernel}"]
    if launch.op is Op.RESIDUAL and launch.residual < 0:
        parts = ["conv 3x3 twice"]
    if launch.stride > 1:
        parts.append(f"stride {launch.stride}")
    if launch.low >= 0:
        parts.insert(0, "merge +")
    if launch.outputs:
        parts.append("+ head")
    return f"{' '.join(parts)} {source[3]}->{launch.channels} {columns}x{rows}"
