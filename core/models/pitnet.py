# SPDX-License-Identifier: Apache-2.0
"""PitNet: the default network of this project.

An encoder-decoder that keeps a thin stage at full resolution, where targets of a few pixels are, and does most of its
work at half resolution and below. Every convolution re-parameterises to 3x3 (or 1x1) + bias + ReLU.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from pitviper.core.models.base import DetectorNetwork
from pitviper.core.modules.head import target_head
from pitviper.core.modules.reparam import Pointwise, RepConv, ResidualBlock
from pitviper.core.modules.subpixel import FullResolutionConv, FullResolutionHead


@dataclass(frozen=True)
class PitNetConfig:
    """Widths and depths of PitNet.

    Attributes:
        in_channels: Planes of the standardised frame.
        widths: Channels at strides 1, 2, 4, ...; multiples of 16 fill the vector units.
        stem: Full-resolution convolutions before the trunk.
        depths: Residual blocks of each stage.
        decoder: 3x3 convolutions of each decoder level, deepest skipped: strides 1, 2, 4, ...
        packed: Deploy the full-resolution stage at half resolution, between a space-to-depth of the frame and a
            depth-to-space of the logits (see ``modules/subpixel.py``): for a stage of a handful of channels.
    """

    in_channels: int = 1
    widths: tuple[int, ...] = (16, 32, 48, 64, 64)
    stem: int = 1
    depths: tuple[int, ...] = (0, 0, 1, 1, 1)
    decoder: tuple[int, ...] = (1, 1, 1, 1)
    packed: bool = False

    def __post_init__(self) -> None:
        if not len(self.widths) == len(self.depths) == len(self.decoder) + 1 or len(self.widths) < 2:
            raise ValueError(
                "depths needs one entry for each of two or more widths, and decoder one less; "
                f"got {self.widths}, {self.depths} and {self.decoder}"
            )
        if self.stem < 1 or (self.packed and self.depths[0]):
            raise ValueError("stem must be at least 1, and a packed stage has no residual blocks")


class PitNet(DetectorNetwork):
    """Stages at strides 1, 2, 4, ...; if packed, the first is at stride 2 with four times its channels."""

    version: ClassVar[str] = "2"

    def __init__(self, config: PitNetConfig) -> None:
        super().__init__()
        self.config: PitNetConfig = config
        self.in_channels = config.in_channels
        packed, thin, widths = config.packed, config.widths[0], config.widths
        self.stage_channels = (4 * thin if packed else thin, *widths[1:])
        self.stage_strides = (2 if packed else 1, *(1 << i for i in range(1, len(widths))))
        self.required_multiple = self.stage_strides[-1]
        full: Callable[[int, int], nn.Module] = FullResolutionConv if packed else RepConv
        self.stem = nn.Sequential(
            full(config.in_channels, thin),
            *(full(thin, thin) for _ in range(config.stem - 1)),
            *(ResidualBlock(thin) for _ in range(config.depths[0])),
        )
        self.down = nn.ModuleList(
            RepConv(a, b, stride=1 if packed and i == 0 else 2)
            for i, (a, b) in enumerate(pairwise(self.stage_channels))
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(c) for _ in range(n)))
            for c, n in zip(widths[1:], config.depths[1:], strict=True)
        )
        self.up = nn.ModuleList(Pointwise(b, a) for a, b in pairwise(self.stage_channels))
        self.refine = nn.ModuleList(
            nn.Sequential(nn.ReLU(), *((RepConv if i else full)(c, c) for _ in range(n)))
            for i, (c, n) in enumerate(zip(widths[:-1], config.decoder, strict=True))
        )
        self.head = FullResolutionHead(thin) if packed else target_head(thin)
        self.coarse_head = nn.Conv2d(widths[1], 4, 1, bias=False)

    def encode(self, x: Tensor) -> list[Tensor]:
        stages = [self.stem(F.pixel_unshuffle(x, 2) if self.config.packed else x)]
        for down, blocks in zip(self.down, self.blocks, strict=True):
            stages.append(blocks(down(stages[-1])))
        return stages

    def decode(self, stages: list[Tensor]) -> OrderedDict[str, Tensor]:
        packed, y = self.config.packed, stages[-1]
        for i in reversed(range(1, len(self.up))):
            y = self.refine[i](stages[i] + F.interpolate(self.up[i](y), scale_factor=2.0, mode="nearest"))
        # The trunk writes logits itself: through the few fine channels alone, training can die in "no target".
        coarse, lateral = self.coarse_head(y), self.up[0](y)
        if not packed:
            lateral = F.interpolate(lateral, scale_factor=2.0, mode="nearest")
        fine = self.head(self.refine[0](stages[0] + lateral))
        logits = F.pixel_shuffle(fine + coarse, 2) if packed else fine + F.pixel_shuffle(coarse, 2)
        return OrderedDict(final=logits)
