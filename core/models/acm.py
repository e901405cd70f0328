# SPDX-License-Identifier: Apache-2.0
"""ACM-UNet: Dai et al., "Asymmetric Contextual Modulation for Infrared Small Target Detection" (WACV 2021).

By default the form with three blocks a stage that later tables call ACM, with GroupNorm(1) in the fusion, because
batch norm over a globally pooled map cannot train with one image. The preset ``acm-original`` is the one of the paper.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from pitviper.core.models.base import DetectorNetwork
from pitviper.core.modules.blocks import FCNHead, residual_stage, strided_layers


@dataclass(frozen=True)
class ACMConfig:
    """Settings of ACM.

    Attributes:
        in_channels: Planes of the input.
        blocks: Residual blocks a stage (3; the original paper's weights have 4).
        dropout: In the head.
        batch_norm_fusion: Batch norm in the gates of the fusion, as in the paper; trains with two images or more.
        align_corners: Of the final upsampling; true in the paper.
    """

    in_channels: int = 1
    blocks: int = 3
    dropout: float = 0.1
    batch_norm_fusion: bool = False
    align_corners: bool = False


class AsymmetricFusion(nn.Module):
    """AsymBi of ACM: the deep map gates the skip per channel, the skip gates the deep map per pixel."""

    def __init__(self, channels: int, *, batch_norm: bool = False) -> None:
        super().__init__()
        self.top_down = _gate(channels, batch_norm)
        self.bottom_up = _gate(channels, batch_norm)
        self.post = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()
        )

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        down = self.top_down(F.adaptive_avg_pool2d(high, 1))
        up = self.bottom_up(low)
        out: Tensor = self.post(2 * low * down + 2 * high * up)
        return out


def _gate(channels: int, batch_norm: bool) -> nn.Sequential:
    inner = channels // 4

    def norm(width: int) -> nn.Module:
        return nn.BatchNorm2d(width) if batch_norm else nn.GroupNorm(1, width)

    return nn.Sequential(
        nn.Conv2d(channels, inner, 1),
        norm(inner),
        nn.ReLU(),
        nn.Conv2d(inner, channels, 1),
        norm(channels),
        nn.Sigmoid(),
    )


class ACM(DetectorNetwork):
    """Stages 16@4, 32@8, 64@16; logits upsampled by 4."""

    def __init__(self, config: ACMConfig) -> None:
        super().__init__()
        self.config: ACMConfig = config
        self.in_channels = config.in_channels
        n = config.blocks
        self.stage_channels = (16, 32, 64)
        self.stage_strides = (4, 8, 16)
        self.required_multiple = 16
        self.input_norm = nn.BatchNorm2d(config.in_channels, affine=False)
        self.stem = nn.Sequential(
            *strided_layers(config.in_channels, 8, stride=2),
            *strided_layers(8, 8),
            *strided_layers(8, 16),
            nn.MaxPool2d(3, 2, 1),
        )
        self.layer1 = residual_stage(16, 16, n)
        self.layer2 = residual_stage(16, 32, n, stride=2)
        self.layer3 = residual_stage(32, 64, n, stride=2)
        self.deconv2 = nn.ConvTranspose2d(64, 32, 4, 2, 1)
        self.fuse2 = AsymmetricFusion(32, batch_norm=config.batch_norm_fusion)
        self.uplayer2 = residual_stage(32, 32, n)
        self.deconv1 = nn.ConvTranspose2d(32, 16, 4, 2, 1)
        self.fuse1 = AsymmetricFusion(16, batch_norm=config.batch_norm_fusion)
        self.uplayer1 = residual_stage(16, 16, n)
        self.head = FCNHead(16, dropout=config.dropout)

    def encode(self, x: Tensor) -> list[Tensor]:
        c1 = self.layer1(self.stem(self.input_norm(x)))
        c2 = self.layer2(c1)
        return [c1, c2, self.layer3(c2)]

    def decode(self, stages: list[Tensor]) -> OrderedDict[str, Tensor]:
        c1, c2, c3 = stages
        y = self.uplayer2(self.fuse2(self.deconv2(c3), c2))
        y = self.uplayer1(self.fuse1(self.deconv1(y), c1))
        logits = self.head(y)
        return OrderedDict(
            final=F.interpolate(
                logits, scale_factor=4.0, mode="bilinear", align_corners=self.config.align_corners
            )
        )
