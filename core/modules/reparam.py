# SPDX-License-Identifier: Apache-2.0
"""Convolutions that train with several branches and deploy as one.

The branches (3x3, 1x1, identity) are summed as 3x3 kernels *before* the convolution, in the manner of "Online
Convolutional Re-parameterization" (Hu et al., CVPR 2022), so training pays for one convolution and one batch norm
instead of one per branch. ``fuse`` returns the same function as a plain convolution with bias.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def fold_batch_norm(weight: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Fold a batch norm that follows a bias-free convolution into its kernel, in float64.

    Args:
        weight: [C_out, C_in, k, k].
        norm: Batch norm over C_out channels, with running statistics.

    Returns:
        Kernel [C_out, C_in, k, k] and bias [C_out], float64.
    """
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return weight.double() * scale.view(-1, 1, 1, 1), norm.bias.double() - norm.running_mean.double() * scale


def plain_conv(weight: Tensor, bias: Tensor, *, stride: int = 1) -> nn.Conv2d:
    """Build a float32 convolution on the kernel's device, padded to keep the size, with this kernel and bias."""
    out_channels, in_channels, k, _ = weight.shape
    conv = nn.Conv2d(in_channels, out_channels, k, stride=stride, padding=k // 2, device=weight.device)
    with torch.no_grad():
        conv.weight.copy_(weight)
        assert conv.bias is not None
        conv.bias.copy_(bias)
    return conv


class RepConv(nn.Module):
    """3x3 convolution = (3x3 + 1x1 + identity) kernels, one batch norm, optional ReLU.

    Args:
        in_channels: Channels of the input [B, C_in, H, W].
        out_channels: Channels of the output.
        stride: 1 or 2; the output is [B, C_out, ceil(H / stride), ceil(W / stride)].
        activation: Apply ReLU to the result.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, stride: int = 1, activation: bool = True
    ) -> None:
        super().__init__()
        self.stride = stride
        self.activation = activation
        self.weight3 = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        self.weight1 = nn.Parameter(torch.empty(out_channels, in_channels, 1, 1))
        nn.init.kaiming_normal_(self.weight3, mode="fan_out", nonlinearity="relu")
        nn.init.kaiming_normal_(self.weight1, mode="fan_out", nonlinearity="relu")
        self.identity = (
            nn.Parameter(torch.ones(out_channels)) if in_channels == out_channels and stride == 1 else None
        )
        self.norm = nn.BatchNorm2d(out_channels)

    def kernel(self) -> Tensor:
        """The sum of the branches as one kernel [C_out, C_in, 3, 3], before the batch norm."""
        kernel = self.weight3 + F.pad(self.weight1, (1, 1, 1, 1))
        if self.identity is not None:
            kernel = kernel + F.pad(torch.diag(self.identity)[:, :, None, None], (1, 1, 1, 1))
        return kernel

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(F.conv2d(x, self.kernel(), stride=self.stride, padding=1))
        return F.relu(y) if self.activation else y

    def fuse(self) -> nn.Module:
        """The same function in evaluation mode as ``nn.Conv2d`` with bias (and ``nn.ReLU``)."""
        conv = plain_conv(*fold_batch_norm(self.kernel().detach(), self.norm), stride=self.stride)
        return nn.Sequential(conv, nn.ReLU()) if self.activation else conv


class ResidualBlock(nn.Module):
    """relu(x + conv(relu(conv(x)))) with two re-parameterised 3x3 convolutions of ``channels`` channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first: nn.Module = RepConv(channels, channels)
        self.second: nn.Module = RepConv(channels, channels, activation=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class Pointwise(nn.Module):
    """1x1 convolution and batch norm, no activation: changes the number of channels between two stages."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="linear")
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y

    def fuse(self) -> nn.Module:
        """The same function in evaluation mode as one 1x1 ``nn.Conv2d`` with bias."""
        return plain_conv(*fold_batch_norm(self.conv.weight.detach(), self.norm))
