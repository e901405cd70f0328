# SPDX-License-Identifier: Apache-2.0
"""A plan on frames of one size in torch: its memory, and the launches of `conv_block` that it is made of.

Triton has no `residual_block` and joins no maps inside a convolution (see the kernels' READMEs), so such a launch of
the plan becomes two, with a map between them that lies in memory of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from pitviper.core.plan import Launch, Op, Plan
from pitviper.kernels.conv_block.tiling import Tiling

__all__ = ["Memory", "Step", "Weights", "steps", "weights_of"]

Weights = Mapping[str, Tensor]
"""Of one launch, see `Launch.weights`: kernels [C_out, k, k, C_in] of the maps' dtype, the rest float32."""
_PLACES: Final = ("weight", "bias", "weight2", "bias2", "head", "head_bias", "coarse_weight")


@dataclass(frozen=True)
class Step:
    """One call of ``convolve`` (`triton_impl` or `torch_impl`): how it is cut, and tensors that never move."""

    cut: Tiling
    tensors: Mapping[str, Tensor | None]


class Memory:
    """What a plan needs for a frame of one size, allocated once.

    Args:
        plan: Whose arena and maps.
        shape: (Hp, Wp) of the padded frame.
        device: Where.
        dtype: Of maps and weights.

    Attributes:
        logits: float32 [1, Hp, Wp].
        between: For the map between the two launches of one step, as long as the largest of them.
    """

    def __init__(self, plan: Plan, shape: tuple[int, int], device: torch.device, dtype: torch.dtype) -> None:
        self._plan, self._shape = plan, shape
        self._blocks = (shape[0] // plan.stride) * (shape[1] // plan.stride)
        self._arena = torch.empty(plan.arena * self._blocks, device=device, dtype=dtype)
        sizes = (self._size(value) for launch in plan.launches for value in _between(launch))
        self.between = torch.empty(max(sizes, default=0), device=device, dtype=dtype)
        self.logits = torch.empty((1, *shape), device=device)

    def map(self, value: int) -> Tensor:
        """[1, H, W, C] of a value other than the frame, in its place of the arena."""
        found, size = self._plan.values[value], self._size(value)
        begin = found.offset * self._blocks
        return self._arena[begin : begin + size].view(self._form(value))

    def map_between(self, like: int) -> Tensor:
        """[1, H, W, C] as the value ``like`` has, in the memory for maps between two launches."""
        return self.between[: self._size(like)].view(self._form(like))

    def _form(self, value: int) -> tuple[int, int, int, int]:
        found = self._plan.values[value]
        return 1, self._shape[0] // found.divisor, self._shape[1] // found.divisor, found.channels

    def _size(self, value: int) -> int:
        _, rows, columns, channels = self._form(value)
        return rows * columns * channels


def _between(launch: Launch) -> tuple[int, ...]:
    """The value whose form the map between two launches has; empty where one launch does."""
    if launch.op is Op.RESIDUAL:
        return (launch.target,)
    return (launch.source,) if launch.low >= 0 else ()


def weights_of(plan: Plan, device: torch.device, dtype: torch.dtype) -> tuple[Weights, ...]:
    """The weights of every launch on ``device``, in the order that the convolutions read."""
    return tuple(_launch_weights(plan, launch, device, dtype) for launch in plan.launches)


def _launch_weights(plan: Plan, launch: Launch, device: torch.device, dtype: torch.dtype) -> Weights:
    channels, inputs = launch.channels, plan.values[launch.source].channels
    shapes: dict[str, tuple[int, ...]] = {
        "weight": (channels, inputs, launch.kernel, launch.kernel),
        "bias": (channels,),
    }
    if launch.op is Op.RESIDUAL:
        shapes |= {"weight2": (channels, channels, 3, 3), "bias2": (channels,)}
    if launch.low >= 0:
        shapes |= {"weight2": (inputs, plan.values[launch.low].channels, 1, 1), "bias2": (inputs,)}
    if launch.outputs:
        shapes |= {"head": (launch.outputs, channels), "head_bias": (launch.outputs,)}
    if launch.coarse >= 0:
        shapes["coarse_weight"] = (4, plan.values[launch.coarse].channels)
    found = {}
    for name, shape in shapes.items():
        at, size = launch.weights[_PLACES.index(name)], torch.Size(shape).numel()
        values = torch.tensor(plan.weights[at : at + size], device=device).view(shape)
        found[name] = values.permute(0, 2, 3, 1).to(dtype).contiguous() if len(shape) == 4 else values
    return found


def steps(plan: Plan, weights: tuple[Weights, ...], memory: Memory, frame: Tensor) -> tuple[Step, ...]:
    """The launches of a plan, in order.

    Args:
        plan: What runs.
        weights: From `weights_of`.
        memory: Of the frame's size.
        frame: [1, Hp, Wp] of the maps' dtype, the standardised frame.
    """
    found: list[Step] = []
    for launch, given in zip(plan.launches, weights, strict=True):
        found.extend(_steps(plan, launch, given, memory, frame))
    return tuple(found)


def _steps(plan: Plan, launch: Launch, given: Weights, memory: Memory, frame: Tensor) -> Iterator[Step]:
    unshuffle = launch.source == 0 and plan.block == 2
    standardised = frame if unshuffle else frame[..., None]
    source = memory.map(launch.source) if launch.source else standardised
    out = memory.logits if launch.outputs else memory.map(launch.target)
    residual = memory.map(launch.residual) if launch.residual > 0 else None
    if launch.op is Op.RESIDUAL:
        between = memory.map_between(launch.target)
        yield _step(source, given["weight"], given["bias"], between, unshuffle=unshuffle)
        yield _step(between, given["weight2"], given["bias2"], out, addend=residual)
        return
    if launch.low >= 0:
        joined = memory.map_between(launch.source)
        yield _step(
            memory.map(launch.low),
            given["weight2"],
            given["bias2"],
            joined,
            addend=source,
            upsample=launch.merge_scale,
            relu=launch.merge_relu,
        )
        source = joined
    head = {name: given.get(name) for name in ("head", "head_bias", "coarse_weight")}
    yield _step(
        source,
        given["weight"],
        given["bias"],
        out,
        addend=residual,
        stride=launch.stride,
        upsample=launch.upsample,
        relu=launch.relu,
        unshuffle=unshuffle,
        head={**head, "coarse": memory.map(launch.coarse) if launch.coarse > 0 else None},
    )


def _step(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    out: Tensor,
    *,
    addend: Tensor | None = None,
    head: Mapping[str, Tensor | None] | None = None,
    stride: int = 1,
    upsample: int = 1,
    relu: bool = True,
    unshuffle: bool = False,
) -> Step:
    c_out, kernel, _, c_in = weight.shape
    parts = {} if head is None else head
    logits, coarse = parts.get("head"), parts.get("coarse")
    rows, columns = (side // 2 if unshuffle else side for side in x.shape[1:3])
    cut = Tiling(
        (x.shape[0], rows, columns, c_in),
        c_out,
        kernel,
        stride=stride,
        unshuffle=unshuffle,
        upsample=upsample,
        addend=addend is not None,
        relu=relu,
        outputs=0 if logits is None else logits.shape[0],
        c_coarse=0 if coarse is None else coarse.shape[3],
        itemsize=x.element_size(),
    )
    return Step(cut, {"x": x, "weight": weight, "bias": bias, "out": out, "addend": addend, **parts})
