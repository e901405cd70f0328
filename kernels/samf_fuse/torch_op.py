# SPDX-License-Identifier: Apache-2.0
"""The Triton implementations of `samf_split` and `samf_join` as operators of torch, traceable and differentiable once.

The gradient of the join needs no kernel: its parts are views of the result's gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pitviper.kernels import planes


@torch.library.custom_op("pitviper::samf_split", mutates_args=())
def split(features: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """U1 and U2; the arguments are checked."""
    from pitviper.kernels.samf_fuse import triton_impl

    return triton_impl.samf_split_forward(features, scale, shift)


@split.register_fake
def _(features: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    first, second = (
        planes.like(features, channels=scale.shape[1], dtype=torch.promote_types(features.dtype, prior.dtype))
        for prior in (scale, shift)
    )
    return first, second


@torch.library.custom_op("pitviper::samf_split_backward", mutates_args=())
def split_backward(
    grad_first: Tensor,
    grad_second: Tensor,
    features: Tensor,
    scale: Tensor,
    shift_dtype: torch.dtype,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of features, and of scale and shift; [0] for those that are not ``wanted``."""
    from pitviper.kernels.samf_fuse import triton_impl

    found = triton_impl.samf_split_backward(
        grad_first, grad_second, features, scale, shift_dtype, wanted=(wanted[0], wanted[1])
    )
    first, second, third = (features.new_empty(0) if one is None else one for one in found)
    return first, second, third


@split_backward.register_fake
def _(
    grad_first: Tensor,
    grad_second: Tensor,
    features: Tensor,
    scale: Tensor,
    shift_dtype: torch.dtype,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        planes.like(features) if wanted[0] else features.new_empty(0),
        planes.like(scale) if wanted[1] else features.new_empty(0),
        planes.like(scale, dtype=shift_dtype) if wanted[1] else features.new_empty(0),
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    features, scale, shift = inputs
    ctx.shift_dtype = shift.dtype
    ctx.save_for_backward(features, scale)


def _differentiate(
    ctx: Any, grad_first: Tensor, grad_second: Tensor
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    features, scale = ctx.saved_tensors
    needed = ctx.needs_input_grad
    wanted = [needed[0], needed[1] or needed[2]]
    found = split_backward(grad_first, grad_second, features, scale, ctx.shift_dtype, wanted)
    first, second, third = (one if need else None for one, need in zip(found, needed, strict=True))
    return first, second, third


split.register_autograd(_differentiate, setup_context=_keep)


@torch.library.custom_op("pitviper::samf_join", mutates_args=())
def join(first: Tensor, second: Tensor, features: Tensor) -> Tensor:
    """Y; the arguments are checked."""
    from pitviper.kernels.samf_fuse import triton_impl

    return triton_impl.samf_join_forward(first, second, features)


@join.register_fake
def _(first: Tensor, second: Tensor, features: Tensor) -> Tensor:
    dtype = torch.promote_types(torch.promote_types(first.dtype, second.dtype), features.dtype)
    return planes.like(features, dtype=dtype)


def _keep_dtypes(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.half = inputs[0].shape[1]
    ctx.dtypes = tuple(given.dtype for given in inputs)


def _view(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    first, second, features = ctx.dtypes
    return grad[:, : ctx.half].to(first), grad[:, ctx.half :].to(second), grad.to(features)


join.register_autograd(_view, setup_context=_keep_dtypes)
