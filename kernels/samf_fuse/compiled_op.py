# SPDX-License-Identifier: Apache-2.0
"""The CUDA C++ kernels of `samf_split` and `samf_join` as operators of torch: traceable, without gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from pitviper.kernels import compiled, planes

MULTIPLE = 16
"""What the channels are a multiple of: a thread takes eight of one half."""


@torch.library.custom_op("pitviper::samf_split_compiled", mutates_args=())
def split(features: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """U1 and U2; the arguments are such as `compiled.refusal` finds nothing against."""
    first, second = _halves(features)
    if features.numel():
        arguments = {
            "shape": compiled.rows_of_pixels(features),
            "prior_size": tuple(scale.shape[2:]),
            "features": features,
            "scale": scale,
            "shift": shift,
            "first": first,
            "second": second,
        }
        compiled.launch("samf_split_phases", arguments, features)
    return first, second


@split.register_fake
def _(features: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    return _halves(features)


def _halves(features: Tensor) -> tuple[Tensor, Tensor]:
    half = features.shape[1] // 2
    return planes.like(features, channels=half), planes.like(features, channels=half)


@torch.library.custom_op("pitviper::samf_join_compiled", mutates_args=())
def join(first: Tensor, second: Tensor, features: Tensor) -> Tensor:
    """Y; the arguments are such as `compiled.refusal` finds nothing against."""
    out = planes.like(features)
    if features.numel():
        arguments = {
            "shape": compiled.rows_of_pixels(features),
            "first": first,
            "second": second,
            "features": features,
            "output": out,
        }
        compiled.launch("samf_join_phases", arguments, features)
    return out


@join.register_fake
def _(first: Tensor, second: Tensor, features: Tensor) -> Tensor:
    return planes.like(features)
