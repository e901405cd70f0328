# SPDX-License-Identifier: Apache-2.0
"""ALCL-Net: Yu et al., "Pay Attention to Local Contrast Learning Networks for Infrared Small Target Detection" (2022).

Residual encoder of five stages, a local contrast block on each, and a top-down decoder in which each shallow stage
gates what comes from below it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from pitviper.core.models.base import DetectorNetwork
from pitviper.core.modules.blocks import (
    LocalContrastLearning,
    ResBlock,
    ResDown,
    conv_norm_relu,
    init_fan_out,
    upsample2,
)
from pitviper.core.modules.head import start_at_prior


@dataclass(frozen=True)
class ALCLConfig:
    """Settings of ALCL-Net.

    Attributes:
        in_channels: Planes of the input.
        blocks: Residual blocks a stage.
    """

    in_channels: int = 1
    blocks: int = 3


class SimplifiedBilateralAttention(nn.Module):
    """SBAM: low + up(high) * gate(low), for high [B, C_high, H, W] and low [B, C_low, 2 H, 2 W]."""

    def __init__(self, high: int, low: int) -> None:
        super().__init__()
        self.reduce = conv_norm_relu(high, low, 1)
        self.gate = nn.Sequential(nn.Conv2d(low, low, 1), nn.BatchNorm2d(low), nn.Sigmoid())

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        out: Tensor = low + self.reduce(upsample2(high)) * self.gate(low)
        return out


class ALCLNet(DetectorNetwork):
    """Stages 16@1, 32@2, 64@4, 128@8, 256@16, before their local contrast blocks; logits at full resolution."""

    def __init__(self, config: ALCLConfig) -> None:
        super().__init__()
        self.config: ALCLConfig = config
        self.in_channels = config.in_channels
        self.stage_channels = (16, 32, 64, 128, 256)
        self.stage_strides = (1, 2, 4, 8, 16)
        self.required_multiple = 16
        n = config.blocks
        self.stem = nn.Sequential(*conv_norm_relu(config.in_channels, 16), *conv_norm_relu(16, 16))
        self.stages = nn.ModuleList([nn.Sequential(*(ResBlock(16) for _ in range(n)))])
        self.stages.extend(
            nn.Sequential(ResDown(a, b), *(ResBlock(b) for _ in range(n - 1)))
            for a, b in pairwise(self.stage_channels)
        )
        self.contrast = nn.ModuleList(LocalContrastLearning(c) for c in self.stage_channels)
        self.fuse = nn.ModuleList(
            SimplifiedBilateralAttention(high, low) for low, high in pairwise(self.stage_channels)
        )
        to_logits = nn.Conv2d(16, 1, 1)
        self.head = nn.Sequential(nn.Conv2d(16, 16, 1), nn.ReLU(), to_logits)
        init_fan_out(self)
        start_at_prior(to_logits)

    def encode(self, x: Tensor) -> list[Tensor]:
        features = []
        y = self.stem(x)
        for stage in self.stages:
            y = stage(y)
            features.append(y)
        return features

    def decode(self, stages: list[Tensor]) -> OrderedDict[str, Tensor]:
        contrasts = [contrast(c) for contrast, c in zip(self.contrast, stages, strict=True)]
        y = contrasts[-1]
        for i in reversed(range(len(self.fuse))):
            y = self.fuse[i](y, contrasts[i])
        return OrderedDict(final=self.head(y))
