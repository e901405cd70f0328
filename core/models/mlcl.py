# SPDX-License-Identifier: Apache-2.0
"""MLCL-Net: Yu et al., "Infrared Small Target Detection Based on Multiscale Local Contrast Learning Networks" (2022).

Full-resolution residual encoder of three stages, a multi-scale local contrast block on each, and an additive decoder.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pitviper.core.models.base import DetectorNetwork
from pitviper.core.modules.blocks import ResBlock, ResDown, conv_norm_relu, init_fan_out, upsample2
from pitviper.core.modules.head import target_head


@dataclass(frozen=True)
class MLCLConfig:
    """Settings of MLCL-Net.

    Attributes:
        in_channels: Planes of the input.
        blocks: Residual blocks a stage (3; the "small" form in tables of other papers has 2).
    """

    in_channels: int = 1
    blocks: int = 3


class MultiscaleLocalContrast(nn.Module):
    """MLCL: three branches that see 3, 9 and 15 pixels, joined by a 1x1 convolution. Keeps the shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, k, padding=k // 2),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation),
                nn.ReLU(),
            )
            for k, dilation in ((1, 1), (3, 3), (5, 5))
        )
        self.join = nn.Conv2d(3 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.join(torch.cat([branch(x) for branch in self.branches], dim=1))
        return out


class MLCLNet(DetectorNetwork):
    """Stages 16@1, 32@2, 64@4, before their local contrast blocks; logits at full resolution."""

    def __init__(self, config: MLCLConfig) -> None:
        super().__init__()
        self.config: MLCLConfig = config
        self.in_channels = config.in_channels
        self.stage_channels = (16, 32, 64)
        self.stage_strides = (1, 2, 4)
        self.required_multiple = 4
        n = config.blocks
        self.stem = nn.Sequential(*conv_norm_relu(config.in_channels, 16), *conv_norm_relu(16, 16))
        self.stage1 = nn.Sequential(*(ResBlock(16) for _ in range(n)))
        self.stage2 = nn.Sequential(ResDown(16, 32), *(ResBlock(32) for _ in range(n - 1)))
        self.stage3 = nn.Sequential(ResDown(32, 64), *(ResBlock(64) for _ in range(n - 1)))
        self.contrast = nn.ModuleList(MultiscaleLocalContrast(c) for c in self.stage_channels)
        # PyTorch's own start from here on, as published.
        init_fan_out(self)
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, 64, 1), nn.ReLU()) for c in self.stage_channels
        )
        self.head = nn.Sequential(nn.Conv2d(64, 64, 1), nn.ReLU(), target_head(64))

    def encode(self, x: Tensor) -> list[Tensor]:
        c1 = self.stage1(self.stem(x))
        c2 = self.stage2(c1)
        return [c1, c2, self.stage3(c2)]

    def decode(self, stages: list[Tensor]) -> OrderedDict[str, Tensor]:
        p1, p2, p3 = (
            lateral(contrast(c))
            for lateral, contrast, c in zip(self.lateral, self.contrast, stages, strict=True)
        )
        y = upsample2(p2 + upsample2(p3)) + p1
        return OrderedDict(final=self.head(y))
