# SPDX-License-Identifier: Apache-2.0
"""The definition of `samf_split` and `samf_join`, in PyTorch. Every other implementation is tested against it.

SAMF (arXiv 2512.05511, read off the figure) modulates the two halves of the features, sends each through a
convolution, and adds the concatenated results to the features. The convolutions stand in between, so what is fused
is one operation before them and one behind them::

    U1, U2 = split(F, M, A)   = F1 * resize(M), F2 + resize(A)
    Y      = join(V1, V2, F)  = concat(V1, V2) + F            V1 = conv_1(U1), V2 = conv_2(U2)
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear [B, C, h', w'] -> [B, C, h, w] over the same field of view; nothing where the size is right.

    Pixel (y, x) takes the value at ((y + 0.5) h' / h - 0.5, (x + 0.5) w' / w - 0.5), clamped to the centres of the
    outermost pixels of the map.
    """
    if (x.shape[2], x.shape[3]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def samf_split_reference(features: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """The first half of the channels times the resized ``scale``, the second half plus the resized ``shift``.

    Args:
        features: F [B, C, h, w], C even.
        scale: M [B, C / 2, h', w'].
        shift: A [B, C / 2, h', w'].

    Returns:
        U1 and U2, each [B, C / 2, h, w], in the dtype to which PyTorch promotes F with M, and F with A.
    """
    first, second = features.chunk(2, dim=1)
    size = (features.shape[2], features.shape[3])
    return first * resize(scale, size), second + resize(shift, size)


def samf_join_reference(first: Tensor, second: Tensor, features: Tensor) -> Tensor:
    """``concat(first, second) + features``: [B, C / 2, h, w] twice, and [B, C, h, w]."""
    return torch.cat((first, second), dim=1) + features
