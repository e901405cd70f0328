# SPDX-License-Identifier: Apache-2.0
"""`conv_block` by PyTorch's own operators: the definition for tensors, in float32, and `triton_impl.convolve` by it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from pitviper.kernels.conv_block.tiling import Tiling


def definition(parts: Mapping[str, Tensor], stride: int, relu: bool, upsample: int) -> Tensor:
    """`reference.conv_block_reference` for maps [B, C, H, W].

    Args:
        parts: Of `conv_block_tensors`, by name; left out where there is none.

    Returns:
        [B, C_out, H', W'] of the dtype of "x", channels last; with a head logits float32 [B, 1, LH, LW].
    """
    x, weight = parts["x"], parts["weight"].float()
    y = F.pixel_unshuffle(x, 2) if x.shape[1] != weight.shape[1] else x
    y = F.conv2d(y.float(), weight, parts["bias"].float(), stride=stride, padding=weight.shape[2] // 2)
    y = y.repeat_interleave(upsample, 2).repeat_interleave(upsample, 3)
    if "residual" in parts:
        y = y + parts["residual"].float()
    y = y.relu() if relu else y
    if "head" not in parts:
        return y.to(x.dtype).contiguous(memory_format=torch.channels_last)
    logits = F.conv2d(y, parts["head"].float()[:, :, None, None], parts["head_bias"].float())
    logits = F.pixel_shuffle(logits, 2) if logits.shape[1] == 4 else logits
    if "coarse" in parts:
        coarse = F.conv2d(parts["coarse"].float(), parts["coarse_weight"].float()[:, :, None, None])
        logits = logits + F.pixel_shuffle(coarse, 2)
    return logits


def convolve(cut: Tiling, tensors: Mapping[str, Tensor | None]) -> None:
    """`triton_impl.convolve` without Triton: the same tensors in the same memory, on any device."""
    given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    out = given["out"]
    parts = {
        "x": given["x"][:, None] if cut.unshuffle else given["x"].permute(0, 3, 1, 2),
        "weight": given["weight"].permute(0, 3, 1, 2),
    }
    parts |= {name: given[name] for name in ("bias", "head", "head_bias", "coarse_weight") if name in given}
    if "addend" in given:
        parts["residual"] = given["addend"].permute(0, 3, 1, 2)
    if "coarse" in given:
        parts["coarse"] = given["coarse"].permute(0, 3, 1, 2)
    found = definition(parts, cut.stride, cut.relu, cut.upsample)
    out.copy_(found[:, 0] if cut.outputs else found.permute(0, 2, 3, 1))
