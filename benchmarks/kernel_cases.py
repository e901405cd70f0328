# SPDX-License-Identifier: Apache-2.0
"""The operations on tensors that `kernels.py` measures: inputs, our call, PyTorch's instead, and the definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pitviper.kernels import affine_modulate, samf_join, samf_split
from pitviper.kernels.affine_modulate.cost import affine_modulate_cost
from pitviper.kernels.conv_block.cost import conv_block_cost
from pitviper.kernels.conv_block.reference import Convolution
from pitviper.kernels.conv_block.torch_op import conv_block_tensors
from pitviper.kernels.cost import Cost
from pitviper.kernels.samf_fuse.cost import samf_fuse_cost

Tensors = dict[str, Tensor]
Results = tuple[Tensor, ...]
Call = Callable[[Tensors], Results]


@dataclass(frozen=True)
class Case:
    """One operation with its settings.

    Attributes:
        name: In results.
        operation: Key of the kernels' registry.
        shapes: From batch, rows and columns to the shape of each input by name.
        ours: Our operation on inputs and a backend's name.
        eager: The same with PyTorch's own operators, as one would write it.
        cost: From batch, rows and columns.
        compiled: Runs in CUDA C++, and on the CPU in its host body, rather than by the registry's backends.
        prepare: Turns the inputs by `shapes` into what the calls are given.
        exact: The definition, where that is not `eager` in float64.
        decode: From what `ours` gives to what is compared; not part of the measured call.
        compiles: Whether torch.compile and TensorRT can take `eager`.
    """

    name: str
    operation: str
    shapes: Callable[[int, int, int], dict[str, tuple[int, ...]]]
    ours: Callable[[Tensors, str], Results]
    eager: Call
    cost: Callable[[int, int, int], Cost]
    compiled: bool = False
    prepare: Callable[[Tensors], Tensors] = dict
    exact: Call | None = None
    decode: Callable[[Results], Results] = tuple
    compiles: bool = True

    def inputs(self, batch: int, rows: int, columns: int, *, device: str, dtype: torch.dtype) -> Tensors:
        """Seeded normal numbers; maps with channels last in memory, as the network has them."""
        random = torch.Generator().manual_seed(0)
        made = {}
        for name, shape in self.shapes(batch, rows, columns).items():
            values = torch.randn(shape, generator=random)
            if name.startswith("weight"):
                values = values / (shape[1] * shape[2] * shape[3]) ** 0.5
            kind = torch.float32 if name.startswith("bias") else dtype
            layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
            made[name] = values.to(device=device, dtype=kind, memory_format=layout)
        return self.prepare(made)

    def excess(self, tensors: Tensors, backend: str, dtype: torch.dtype) -> float:
        """`worst_excess` of our operation on a backend, in ``dtype``."""
        return worst_excess(self.decode(self.ours(tensors, backend)), self.reference(tensors), dtype)

    def reference(self, tensors: Tensors) -> Results:
        """The definition's result for these very inputs: what PyTorch's operators give in float64, if not `exact`."""
        if self.exact is not None:
            return self.exact(tensors)
        return self.eager({name: tensor.double() for name, tensor in tensors.items()})


def worst_excess(found: Results, expected: Results, dtype: torch.dtype) -> float:
    """By how much the worst element is off more than it may be; at most 0 when all agree, infinite for NaN.

    A result and a resized prior are each rounded to ``dtype``, which is half a step of numbers of size 1 and above;
    sums of some hundred products in float32 in another order move them by a few steps of the largest element.
    """
    step, sums = torch.finfo(dtype).eps, 64 * torch.finfo(torch.float32).eps
    worst = -float("inf")
    for each, wanted in zip(found, expected, strict=True):
        if each.shape != wanted.shape:
            return float("inf")
        if not wanted.numel():
            continue
        allowed = 2 * step * wanted.abs().clamp(min=1) + sums * wanted.abs().max().clamp(min=1)
        excess = (each.double() - wanted.double()).abs() - allowed.double()
        worst = max(worst, float("inf") if bool(excess.isnan().any()) else float(excess.max()))
    return worst


def _modulate(tensors: Tensors, backend: str) -> Results:
    residual = tensors.get("residual")
    found = affine_modulate(
        tensors["f"], tensors["gamma"], tensors["beta"], relu=True, residual=residual, backend=_named(backend)
    )
    return (found,)


def _modulate_eager(tensors: Tensors) -> Results:
    gamma, beta = tensors["gamma"], tensors["beta"]
    if gamma.dim() == 2:
        gamma, beta = gamma[:, :, None, None], beta[:, :, None, None]
    out = gamma * tensors["f"] + beta
    return (F.relu(out + tensors["residual"] if "residual" in tensors else out),)


def _split(tensors: Tensors, backend: str) -> Results:
    return samf_split(tensors["f"], tensors["scale"], tensors["shift"], backend=_named(backend))


def _join(tensors: Tensors, backend: str) -> Results:
    return (samf_join(tensors["first"], tensors["second"], tensors["f"], backend=_named(backend)),)


def _split_eager(tensors: Tensors) -> Results:
    first, second = tensors["f"].chunk(2, 1)
    size = first.shape[2:]
    scale, shift = (
        F.interpolate(tensors[name], size, mode="bilinear", align_corners=False)
        for name in ("scale", "shift")
    )
    return first * scale, second + shift


def _join_eager(tensors: Tensors) -> Results:
    return (torch.cat((tensors["first"], tensors["second"]), 1) + tensors["f"],)


def _convolution(
    name: str, c_in: int, c_out: int, *, kernel: int = 3, stride: int = 1, upsample: int = 1
) -> Case:
    """A convolution with bias and ReLU; with ``upsample`` 2 a 1x1 one whose doubled result is added to a map."""
    addend = upsample > 1

    def shapes(batch: int, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
        made: dict[str, tuple[int, ...]] = {
            "x": (batch, c_in, rows, columns),
            "weight": (c_out, c_in, kernel, kernel),
            "bias": (c_out,),
        }
        return {**made, "residual": (batch, c_out, 2 * rows, 2 * columns)} if addend else made

    def ours(tensors: Tensors, backend: str) -> Results:
        convolution = Convolution(tensors["weight"], tensors["bias"], stride, True, upsample)
        return (
            conv_block_tensors(
                tensors["x"], convolution, residual=tensors.get("residual"), backend=_named(backend)
            ),
        )

    def eager(tensors: Tensors) -> Results:
        weight = tensors["weight"]
        bias = tensors["bias"].to(weight.dtype)
        out = F.conv2d(tensors["x"], weight, bias, stride, kernel // 2)
        if addend:
            out = F.interpolate(out, scale_factor=2, mode="nearest") + tensors["residual"]
        return (F.relu(out),)

    def cost(batch: int, rows: int, columns: int) -> Cost:
        return conv_block_cost(
            (batch, rows, columns, c_in),
            c_out,
            kernel=kernel,
            stride=stride,
            upsample=upsample,
            addend=addend,
        )

    return Case(name, "conv_block_tensors", shapes, ours, eager, cost)


def _named(backend: str) -> Any:
    """A backend's name from the registry, which is one of its literals."""
    return backend


TENSOR_CASES = (
    Case(
        "affine_modulate, by channel",
        "affine_modulate",
        lambda b, h, w: {"f": (b, 32, h, w), "gamma": (b, 32), "beta": (b, 32)},
        _modulate,
        _modulate_eager,
        lambda b, h, w: affine_modulate_cost((b, 32, h, w)),
    ),
    Case(
        "affine_modulate, by pixel, with residual",
        "affine_modulate",
        lambda b, h, w: {name: (b, 32, h, w) for name in ("f", "gamma", "beta", "residual")},
        _modulate,
        _modulate_eager,
        lambda b, h, w: affine_modulate_cost((b, 32, h, w), per_pixel=True, residual=True),
    ),
    Case(
        "samf_split, prior at a quarter",
        "samf_fuse",
        lambda b, h, w: {
            "f": (b, 32, h, w),
            "scale": (b, 16, h // 4, w // 4),
            "shift": (b, 16, h // 4, w // 4),
        },
        _split,
        _split_eager,
        lambda b, h, w: samf_fuse_cost((b, 32, h, w), (h // 4, w // 4)),
    ),
    Case(
        "samf_join",
        "samf_fuse",
        lambda b, h, w: {"first": (b, 16, h, w), "second": (b, 16, h, w), "f": (b, 32, h, w)},
        _join,
        _join_eager,
        lambda b, h, w: Cost(2 * b * 64 * h * w, 2 * b * 32 * h * w, b * 32 * h * w),
    ),
    _convolution("conv_block 3x3, 16 -> 32", 16, 32),
    _convolution("conv_block 3x3, 32 -> 32", 32, 32),
    _convolution("conv_block 3x3, 32 -> 48, stride 2", 32, 48, stride=2),
    _convolution("conv_block 1x1, 48 -> 32, doubled and added", 48, 32, kernel=1, upsample=2),
)
