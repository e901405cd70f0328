# SPDX-License-Identifier: Apache-2.0
"""Full-resolution convolutions that deploy at half resolution.

A 3x3 convolution over c channels at full resolution is the same function as a 3x3 convolution over 4c channels at
half resolution between a space-to-depth and a depth-to-space, with the kernel values laid out once per pixel phase.
Training keeps the full-resolution form (9 c^2 weights, translation equivariant to the pixel); the deployed network
runs the half-resolution form, whose 4c channels fill the vector units that a handful of channels would leave idle.
Channel order is that of ``torch.nn.functional.pixel_unshuffle``: c * 4 + 2 * (row phase) + (column phase).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pitviper.core.modules.head import TARGET_PRIOR, target_head
from pitviper.core.modules.reparam import RepConv, fold_batch_norm, plain_conv


def half_resolution_kernel(weight: Tensor) -> Tensor:
    """Lay a full-resolution 3x3 kernel out for pixel-unshuffled maps.

    Args:
        weight: [C_out, C_in, 3, 3], padding 1, stride 1.

    Returns:
        [4 C_out, 4 C_in, 3, 3]: the same function on maps that went through ``pixel_unshuffle(., 2)``.
    """
    out_channels, in_channels, _, _ = weight.shape
    kernel = weight.new_zeros(out_channels, 4, in_channels, 4, 3, 3)
    for phase in range(4):
        for dy in range(3):
            for dx in range(3):
                y, x = phase // 2 + dy - 1, phase % 2 + dx - 1
                source = 2 * (y % 2) + x % 2
                kernel[:, phase, :, source, y // 2 + 1, x // 2 + 1] = weight[:, :, dy, dx]
    return kernel.reshape(4 * out_channels, 4 * in_channels, 3, 3)


class FullResolutionConv(nn.Module):
    """``RepConv`` at full resolution; input and output are pixel-unshuffled maps at half resolution.

    Args:
        in_channels: Channels c of the full-resolution map; the input is [B, 4 c, H / 2, W / 2].
        out_channels: Likewise for the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = RepConv(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_unshuffle(self.conv(F.pixel_shuffle(x, 2)), 2)

    def fuse(self) -> nn.Module:
        """The same function in evaluation mode as one half-resolution ``nn.Conv2d`` with bias and ``nn.ReLU``."""
        weight, bias = fold_batch_norm(self.conv.kernel().detach(), self.conv.norm)
        return nn.Sequential(plain_conv(half_resolution_kernel(weight), bias.repeat_interleave(4)), nn.ReLU())


class FullResolutionHead(nn.Module):
    """1x1 convolution from c full-resolution channels to one logit, on pixel-unshuffled maps.

    Input [B, 4 c, H / 2, W / 2], output logits [B, 4, H / 2, W / 2] (pixel-unshuffled).
    """

    def __init__(self, channels: int, *, prior: float = TARGET_PRIOR) -> None:
        super().__init__()
        self.conv = target_head(channels, prior=prior)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_unshuffle(self.conv(F.pixel_shuffle(x, 2)), 2)

    def fuse(self) -> nn.Module:
        """The same function as one half-resolution 1x1 ``nn.Conv2d``."""
        weight = torch.kron(
            self.conv.weight.detach()[:, :, 0, 0], torch.eye(4, device=self.conv.weight.device)
        )
        assert self.conv.bias is not None
        return plain_conv(weight[:, :, None, None], self.conv.bias.detach().repeat(4))
