# SPDX-License-Identifier: Apache-2.0
"""ALCNet: Dai et al., "Attentional Local Contrast Networks for Infrared Small Target Detection" (TGRS 2021).

Two networks bear the name. ``ALCNet`` is the paper's: a feature pyramid at full resolution whose stages pass through
a parameter-free local contrast measure. ``ALCNetPort`` is what later tables list under the name: ACM's trunk with a
longer decoder and no local contrast.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pitviper.core.models.acm import AsymmetricFusion
from pitviper.core.models.base import DetectorNetwork
from pitviper.core.modules.blocks import FCNHead, residual_stage, strided_layers

# Opposite directions of the compass are four apart.
_COMPASS = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))


@dataclass(frozen=True)
class ALCNetConfig:
    """Settings of ALCNet.

    Attributes:
        in_channels: Planes of the input.
        blocks: Residual blocks a stage.
        dropout: In the head.
        shifts: Distances in pixels of each stage at which the local contrast compares.
        border: What the local contrast sees past the border: "circular", the opposite border, as published, or
            "replicate", the nearest pixel, with which a target near one border leaves no trace at the opposite one.
    """

    in_channels: int = 1
    blocks: int = 4
    dropout: float = 0.1
    shifts: tuple[int, ...] = (13, 17)
    border: str = "circular"


@dataclass(frozen=True)
class ALCNetPortConfig:
    """Settings of the port.

    Attributes:
        in_channels: Planes of the input.
        blocks: Residual blocks of an encoder stage.
        dropout: In the head.
        dead: Build the two decoder stages that the port holds and never runs; only their parameter count shows.
    """

    in_channels: int = 1
    blocks: int = 4
    dropout: float = 0.1
    dead: bool = False


def local_contrast(x: Tensor, *, shifts: tuple[int, ...] = (13, 17), border: str = "circular") -> Tensor:
    """Dilated local contrast measure of ALCNet, per channel and pixel, without parameters.

    For each shift d and each pair of opposite directions, the product of the differences to the two pixels at
    distance d; the smallest of the four pairs, then the largest over the shifts. A lone pixel of value v on zero gives
    v^2 there and 0 elsewhere.

    Args:
        x: [B, C, H, W].
        shifts: Distances d in pixels.
        border: "circular" or "replicate"; see ``ALCNetConfig``.

    Returns:
        [B, C, H, W].
    """
    measure: Tensor | None = None
    for d in shifts:
        around = [_shifted(x, dy * d, dx * d, border) - x for dy, dx in _COMPASS]
        pairs = [around[i] * around[i + 4] for i in range(4)]
        least = torch.minimum(torch.minimum(pairs[0], pairs[1]), torch.minimum(pairs[2], pairs[3]))
        measure = least if measure is None else torch.maximum(measure, least)
    if measure is None:
        raise ValueError("local contrast needs at least one shift, got none")
    return measure


def _shifted(x: Tensor, dy: int, dx: int, border: str) -> Tensor:
    if border == "circular":
        return torch.roll(x, (dy, dx), dims=(2, 3))
    height, width = x.shape[-2:]
    padded = F.pad(x, (abs(dx), abs(dx), abs(dy), abs(dy)), mode="replicate")
    top, left = abs(dy) - dy, abs(dx) - dx
    return padded[..., top : top + height, left : left + width]


class ChannelNorm(nn.BatchNorm2d):
    """Batch norm that follows no convolution; deploys as one multiplication and addition per channel."""

    def fuse(self) -> nn.Module:
        """The same function in evaluation mode as a depth-wise 1x1 ``nn.Conv2d`` with bias."""
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight.double() / torch.sqrt(self.running_var.double() + self.eps)
        shift = self.bias.double() - self.running_mean.double() * scale
        channels = self.num_features
        conv = nn.Conv2d(channels, channels, 1, groups=channels, device=self.weight.device)
        with torch.no_grad():
            conv.weight.copy_(scale.view(-1, 1, 1, 1))
            assert conv.bias is not None
            conv.bias.copy_(shift)
        return conv


class BottomUpAttention(nn.Module):
    """BLAM: the shallow map gates the deep one per pixel, and is added to it. Both are [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.high_norm = ChannelNorm(channels)
        self.low_norm = ChannelNorm(channels)
        self.gate = nn.Sequential(
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.Sigmoid(),
        )

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        low = self.low_norm(low)
        out: Tensor = self.gate(low) * self.high_norm(high) + low
        return out


class ALCNet(DetectorNetwork):
    """Stages 16@1, 32@2, 64@4, before the local contrast; logits at full resolution."""

    def __init__(self, config: ALCNetConfig) -> None:
        super().__init__()
        if config.border not in ("circular", "replicate"):
            raise ValueError(f'border must be "circular" or "replicate", got {config.border!r}')
        self.config: ALCNetConfig = config
        self.in_channels = config.in_channels
        self.stage_channels = (16, 32, 64)
        self.stage_strides = (1, 2, 4)
        self.required_multiple = 4
        self.input_norm = nn.BatchNorm2d(config.in_channels, affine=False)
        self.stem = nn.Sequential(
            nn.Conv2d(config.in_channels, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.layer1 = residual_stage(16, 16, config.blocks)
        self.layer2 = residual_stage(16, 32, config.blocks, stride=2)
        self.layer3 = residual_stage(32, 64, config.blocks, stride=2)
        self.lateral3 = nn.Sequential(nn.Conv2d(64, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.lateral2 = nn.Sequential(nn.Conv2d(32, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.fuse2 = BottomUpAttention(16)
        self.fuse1 = BottomUpAttention(16)
        self.head = FCNHead(16, dropout=config.dropout)

    def encode(self, x: Tensor) -> list[Tensor]:
        c1 = self.layer1(self.stem(self.input_norm(x)))
        c2 = self.layer2(c1)
        return [c1, c2, self.layer3(c2)]

    def decode(self, stages: list[Tensor]) -> OrderedDict[str, Tensor]:
        c1, c2, c3 = (local_contrast(c, shifts=self.config.shifts, border=self.config.border) for c in stages)
        y = self.fuse2(_resized(self.lateral3(c3), c2), self.lateral2(c2))
        y = self.fuse1(_resized(y, c1), c1)
        return OrderedDict(final=self.head(y))


def _resized(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=True)


class ALCNetPort(DetectorNetwork):
    """Stages 16@4, 32@8, 64@16; logits at half resolution, upsampled by 2."""

    def __init__(self, config: ALCNetPortConfig) -> None:
        super().__init__()
        self.config: ALCNetPortConfig = config
        self.in_channels = config.in_channels
        self.stage_channels = (16, 32, 64)
        self.stage_strides = (4, 8, 16)
        self.required_multiple = 16
        self.input_norm = nn.BatchNorm2d(config.in_channels)
        self.stem = nn.Sequential(
            *strided_layers(config.in_channels, 8, stride=2),
            *strided_layers(8, 8),
            *strided_layers(8, 16),
            nn.MaxPool2d(3, 2, 1),
        )
        self.layer1 = residual_stage(16, 16, config.blocks)
        self.layer2 = residual_stage(16, 32, config.blocks, stride=2)
        self.layer3 = residual_stage(32, 64, config.blocks, stride=2)
        self.deconv2 = nn.ConvTranspose2d(64, 32, 4, 2, 1)
        self.fuse2 = AsymmetricFusion(32)
        self.deconv1 = nn.ConvTranspose2d(32, 16, 4, 2, 1)
        self.fuse1 = AsymmetricFusion(16)
        self.deconv0 = nn.ConvTranspose2d(16, 8, 4, 2, 1)
        self.head = FCNHead(8, dropout=config.dropout)
        if config.dead:
            self.uplayer2 = residual_stage(32, 32, config.blocks)
            self.uplayer1 = residual_stage(16, 16, config.blocks)

    def encode(self, x: Tensor) -> list[Tensor]:
        c1 = self.layer1(self.stem(self.input_norm(x)))
        c2 = self.layer2(c1)
        return [c1, c2, self.layer3(c2)]

    def decode(self, stages: list[Tensor]) -> OrderedDict[str, Tensor]:
        c1, c2, c3 = stages
        y = self.fuse2(self.deconv2(c3), c2)
        y = self.fuse1(self.deconv1(y), c1)
        logits = self.head(self.deconv0(y))
        full = F.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
        return OrderedDict(final=full)
