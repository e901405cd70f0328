# SPDX-License-Identifier: Apache-2.0
"""The Triton implementation of `affine_modulate` as an operator of torch: traceable, and differentiable once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pitviper.kernels import planes

Gradients = tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, None, None]


@torch.library.custom_op("pitviper::affine_modulate", mutates_args=())
def modulate(
    features: Tensor, gamma: Tensor, beta: Tensor, residual: Tensor | None, strength: float, relu: bool
) -> Tensor:
    """The result; the arguments are checked."""
    from pitviper.kernels.affine_modulate import triton_impl

    return triton_impl.affine_modulate_forward(features, gamma, beta, residual, strength, relu)


@modulate.register_fake
def _(
    features: Tensor, gamma: Tensor, beta: Tensor, residual: Tensor | None, strength: float, relu: bool
) -> Tensor:
    return planes.like(features)


@torch.library.custom_op("pitviper::affine_modulate_backward", mutates_args=())
def modulate_backward(
    grad: Tensor,
    features: Tensor,
    gamma: Tensor,
    beta: Tensor,
    residual: Tensor | None,
    strength: float,
    relu: bool,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of features, gamma, beta and residual; [0] for those that are not ``wanted``."""
    from pitviper.kernels.affine_modulate import triton_impl

    found = triton_impl.affine_modulate_backward(
        grad, features, gamma, beta, residual, (strength, relu), wanted=(wanted[0], wanted[1], wanted[2])
    )
    first, second, third, fourth = (features.new_empty(0) if one is None else one for one in found)
    return first, second, third, fourth


@modulate_backward.register_fake
def _(
    grad: Tensor,
    features: Tensor,
    gamma: Tensor,
    beta: Tensor,
    residual: Tensor | None,
    strength: float,
    relu: bool,
    wanted: list[bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    none = features.new_empty(0)

    def parameter(given: Tensor) -> Tensor:
        if given.ndim == 4 and given.numel():
            return planes.like(features, dtype=given.dtype)
        return torch.empty_like(given, memory_format=torch.contiguous_format)

    return (
        planes.like(features) if wanted[0] else none,
        parameter(gamma) if wanted[1] else torch.empty_like(none),
        parameter(beta) if wanted[1] else torch.empty_like(none),
        planes.like(features, dtype=residual.dtype)
        if wanted[2] and residual is not None
        else torch.empty_like(none),
    )


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *given, ctx.strength, ctx.relu = inputs
    ctx.save_for_backward(*given)


def _differentiate(ctx: Any, grad: Tensor) -> Gradients:
    features, gamma, beta, residual = ctx.saved_tensors
    of_features, of_gamma, of_beta, of_residual, *_ = ctx.needs_input_grad
    wanted = [of_features, of_gamma or of_beta, of_residual and ctx.relu]
    found: list[Tensor | None] = list(
        modulate_backward(grad, features, gamma, beta, residual, ctx.strength, ctx.relu, wanted)
    )
    if of_residual and not ctx.relu:
        found[3] = grad.to(residual.dtype)
    needed = (of_features, of_gamma, of_beta, of_residual)
    first, second, third, fourth = (one if need else None for one, need in zip(found, needed, strict=True))
    return first, second, third, fourth, None, None


modulate.register_autograd(_differentiate, setup_context=_keep)
