# SPDX-License-Identifier: Apache-2.0
"""Blocks that several published networks share."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from pitviper.core.modules.head import target_head


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions (He et al., "Deep Residual Learning", CVPR 2016).

    The shortcut is the identity, or a strided 1x1 convolution with batch norm where the shape changes.
    """

    def __init__(self, in_channels: int, out_channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class FCNHead(nn.Sequential):
    """3x3 convolution to a quarter of the channels, batch norm, ReLU, dropout, 1x1 convolution to one logit."""

    def __init__(self, channels: int, *, dropout: float = 0.1) -> None:
        inner = channels // 4
        super().__init__(
            nn.Conv2d(channels, inner, 3, padding=1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Dropout(dropout),
            target_head(inner),
        )


def residual_stage(in_channels: int, out_channels: int, blocks: int, *, stride: int = 1) -> nn.Sequential:
    """``blocks`` residual blocks, the first of which changes the channels and strides: one stage of ACM's trunk."""
    rest = (BasicBlock(out_channels, out_channels) for _ in range(blocks - 1))
    return nn.Sequential(BasicBlock(in_channels, out_channels, stride=stride), *rest)


def conv_norm_relu(in_channels: int, out_channels: int, k: int = 3) -> nn.Sequential:
    """A k x k convolution with bias that keeps the size, batch norm, ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, k, padding=k // 2)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU())


def strided_layers(in_channels: int, out_channels: int, *, stride: int = 1) -> tuple[nn.Module, ...]:
    """3x3 convolution without bias, batch norm and ReLU, to be unpacked into a sequence: ACM's and ALCNet's stems."""
    conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
    return conv, nn.BatchNorm2d(out_channels), nn.ReLU()


def upsample2(x: Tensor) -> Tensor:
    """Bilinear [B, C, H, W] -> [B, C, 2 H, 2 W] with aligned corners."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True)


class ResBlock(nn.Module):
    """The residual block of MLCL-Net, ALCL-Net and their line, whose convolutions have a bias. Keeps the shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_norm_relu(channels, channels),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + x)


class ResDown(nn.Module):
    """The halving block of the same line: max pooling in the body, a strided convolution beside it.

    [B, C_in, H, W] -> [B, C_out, H / 2, W / 2].
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_norm_relu(in_channels, out_channels),
            nn.MaxPool2d(2),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
        )
        self.side = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.side(x))


class LocalContrastLearning(nn.Sequential):
    """LCL of ALCL-Net: 1x1 then 3x3 convolution, each with ReLU and without batch norm. Keeps the shape."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
        )


def init_fan_out(module: nn.Module) -> None:
    """Draw every convolution below ``module`` from Kaiming normal (fan out, ReLU gain), with zero bias.

    Batch norms keep their start of weight 1 and bias 0. Source: He et al., "Delving Deep into Rectifiers" (ICCV 2015).
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
