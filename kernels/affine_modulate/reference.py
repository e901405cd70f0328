# SPDX-License-Identifier: Apache-2.0
"""The definition of `affine_modulate`, in PyTorch. Every other implementation is tested against this file.

Source: the application of SCAM's parameters to a stage of features, arXiv 2605.14346.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor


def affine_modulate_reference(
    features: Tensor,
    gamma: Tensor,
    beta: Tensor,
    *,
    strength: float = 1.0,
    relu: bool = False,
    residual: Tensor | None = None,
) -> Tensor:
    """``(1 + s (gamma - 1)) f + s beta``, plus ``residual``; rounded to the dtype of f, then ReLU.

    Half types are computed in float32. A NaN stays a NaN under ReLU, whose gradient is 1 where the rounded result
    is positive (or NaN) and 0 elsewhere.

    Args:
        features: f [B, C, H, W].
        gamma: [B, C], one value for each channel, or [B, C, H, W].
        beta: of the shape of ``gamma``.
        strength: s.
        residual: [B, C, H, W].
    """
    given = [features, gamma, beta] + ([] if residual is None else [residual])
    dtype = reduce(torch.promote_types, (tensor.dtype for tensor in given), torch.float32)
    if gamma.ndim == 2:
        gamma, beta = gamma[:, :, None, None], beta[:, :, None, None]
    out = (1 + strength * (gamma.to(dtype) - 1)) * features.to(dtype) + strength * beta.to(dtype)
    if residual is not None:
        out = out + residual.to(dtype)
    out = out.to(features.dtype)
    return out.relu() if relu else out
