# SPDX-License-Identifier: Apache-2.0
"""The CUDA C++ kernel of `affine_modulate` as an operator of torch: traceable, without a gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from pitviper.kernels import compiled, planes

MULTIPLE = 8
"""What the channels are a multiple of: a thread takes eight of one pixel."""


@torch.library.custom_op("pitviper::affine_modulate_compiled", mutates_args=())
def modulate(
    features: Tensor, gamma: Tensor, beta: Tensor, residual: Tensor | None, strength: float, relu: bool
) -> Tensor:
    """The result; the arguments are such as `compiled.refusal` finds nothing against."""
    out = planes.like(features)
    if out.numel():
        arguments = {
            "shape": compiled.rows_of_pixels(features),
            "features": features,
            "gamma": gamma,
            "beta": beta,
            "residual": residual,
            "output": out,
            "per_pixel": gamma.ndim == 4,
            "strength": strength,
            "relu": relu,
        }
        compiled.launch("affine_modulate_phases", arguments, features)
    return out


@modulate.register_fake
def _(
    features: Tensor, gamma: Tensor, beta: Tensor, residual: Tensor | None, strength: float, relu: bool
) -> Tensor:
    return planes.like(features)
