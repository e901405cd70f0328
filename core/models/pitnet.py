# SPDX-License-Identifier: Apache-2.0
"""PitNet: the default network of this project.

A thin full-resolution path carries sub-pixel detail past a trunk that works at half resolution and below. Every
convolution re-parameterises to 3x3 (or 1x1) + bias + ReLU; the deployed network runs at half resolution from the
space-to-depth of the frame to the depth-to-space of the logits (see ``modules/subpixel.py``).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from pitviper.core.models.base import DetectorNetwork
from pitviper.core.modules.reparam import Pointwise, RepConv, ResidualBlock
from pitviper.core.modules.subpixel import FullResolutionConv, FullResolutionHead


@dataclass(frozen=True)
class PitNetConfig:
    """Widths and depths of PitNet.

    Attributes:
        in_channels: Planes of the standardised frame.
        fine: Channels of the full-resolution path.
        fine_depth: Full-resolution convolutions before the trunk and after it: (before, after).
        widths: Channels of the trunk at strides 2, 4, 8, ...; multiples of 16 fill the vector units.
        depths: Residual blocks of each trunk stage.
        decoder: 3x3 convolutions of each decoder level, deepest skipped: strides 2, 4, 8, ...
    """

    in_channels: int = 1
    fine: int = 4
    fine_depth: tuple[int, int] = (2, 1)
    widths: tuple[int, ...] = (32, 48, 64, 64)
    depths: tuple[int, ...] = (0, 1, 1, 1)
    decoder: tuple[int, ...] = (2, 1, 1)


class PitNet(DetectorNetwork):
    """Encoder-decoder with a thin full-resolution path; stages at strides 2, 2, 4, 8, ... (the first is that path)."""

    version: ClassVar[str] = "1"

    def __init__(self, config: PitNetConfig) -> None:
        super().__init__()
        self.config: PitNetConfig = config
        self.in_channels = config.in_channels
        widths, fine = config.widths, config.fine
        self.stage_channels = (4 * fine, *widths)
        self.stage_strides = (2, *(2 << i for i in range(len(widths))))
        self.required_multiple = self.stage_strides[-1]
        before, after = config.fine_depth
        self.fine_in = nn.Sequential(
            FullResolutionConv(config.in_channels, fine),
            *(FullResolutionConv(fine, fine) for _ in range(before - 1)),
        )
        self.down = nn.ModuleList(
            RepConv(a, b, stride=1 if i == 0 else 2)
            for i, (a, b) in enumerate(zip((4 * fine, *widths[:-1]), widths, strict=True))
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(c) for _ in range(n)))
            for c, n in zip(widths, config.depths, strict=True)
        )
        self.up = nn.ModuleList(Pointwise(b, a) for a, b in pairwise(widths))
        self.refine = nn.ModuleList(
            nn.Sequential(nn.ReLU(), *(RepConv(c, c) for _ in range(n)))
            for c, n in zip(widths[:-1], config.decoder, strict=True)
        )
        self.to_fine = Pointwise(widths[0], 4 * fine)
        self.fine_out = nn.Sequential(nn.ReLU(), *(FullResolutionConv(fine, fine) for _ in range(after)))
        self.head = FullResolutionHead(fine)
        self.coarse_head = nn.Conv2d(widths[0], 4, 1, bias=False)

    def encode(self, x: Tensor) -> list[Tensor]:
        stages = [self.fine_in(F.pixel_unshuffle(x, 2))]
        for down, blocks in zip(self.down, self.blocks, strict=True):
            stages.append(blocks(down(stages[-1])))
        return stages

    def decode(self, stages: list[Tensor]) -> OrderedDict[str, Tensor]:
        y = stages[-1]
        for i in reversed(range(len(self.up))):
            coarse = F.interpolate(self.up[i](y), scale_factor=2.0, mode="nearest")
            y = self.refine[i](stages[i + 1] + coarse)
        fine = self.fine_out(stages[0] + self.to_fine(y))
        # The trunk writes logits itself: through the few fine channels alone, training can die in "no target".
        return OrderedDict(final=F.pixel_shuffle(self.head(fine) + self.coarse_head(y), 2))
