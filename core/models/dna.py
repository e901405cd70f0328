# SPDX-License-Identifier: Apache-2.0
"""DNA-Net: Li et al., "Dense Nested Attention Network for Infrared Small Target Detection" (TIP 2023).

A triangle of nodes x{row}_{column}: column 0 is the encoder; each later node joins all earlier nodes of its row, the
deeper node of the column before and the shallower node of its own column.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pitviper.core.models.base import DetectorNetwork
from pitviper.core.modules.attention import ResCBAM
from pitviper.core.modules.blocks import upsample2
from pitviper.core.modules.head import target_head

Grid = dict[tuple[int, int], Tensor]


@dataclass(frozen=True)
class DNANetConfig:
    """Settings of DNA-Net.

    Attributes:
        in_channels: Planes of the input.
        widths: Channels of the nodes of rows 0 to 4.
        blocks: Residual blocks of a node in rows 1 to 4; row 0 always has one.
    """

    in_channels: int = 1
    widths: tuple[int, ...] = (16, 32, 64, 128, 256)
    blocks: tuple[int, ...] = (2, 2, 2, 2)


class DNANet(DetectorNetwork):
    """Stages 16@1, 32@2, 64@4, 128@8, 256@16; logits at full resolution.

    In training mode ``decode`` also returns the logits of the nodes x0_1, x0_2 and x0_3, before ``"final"``.
    """

    def __init__(self, config: DNANetConfig) -> None:
        super().__init__()
        rows = len(config.widths)
        if rows < 2 or len(config.blocks) != rows - 1:
            raise ValueError(
                f"DNANet needs two or more widths and one entry of blocks less, got {rows} widths and "
                f"{len(config.blocks)} blocks"
            )
        self.config: DNANetConfig = config
        self.in_channels = config.in_channels
        self.stage_channels = config.widths
        self.stage_strides = tuple(1 << i for i in range(rows))
        self.required_multiple = 1 << (rows - 1)
        self.nodes = nn.ModuleDict()
        for column in range(rows):
            for row in range(rows - column):
                self.nodes[_key(row, column)] = _node(config, row, column)
        width = config.widths[0]
        self.to_final = nn.ModuleList(nn.Conv2d(c, width, 1) for c in config.widths[1:])
        self.final = ResCBAM(rows * width, width)
        self.head = target_head(width)
        self.side_heads = nn.ModuleList(target_head(width) for _ in range(rows - 2))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)

    def encode(self, x: Tensor) -> list[Tensor]:
        stages = [self.nodes[_key(0, 0)](x)]
        for row in range(1, len(self.stage_channels)):
            stages.append(self.nodes[_key(row, 0)](F.max_pool2d(stages[-1], 2)))
        return stages

    def decode(self, stages: list[Tensor]) -> OrderedDict[str, Tensor]:
        rows = len(stages)
        grid: Grid = {(row, 0): stage for row, stage in enumerate(stages)}
        # Along the anti-diagonals, so that each needs only what is there: the last is what the bottleneck reaches.
        for diagonal in range(1, rows):
            for column in range(1, diagonal + 1):
                row = diagonal - column
                grid[row, column] = self.nodes[_key(row, column)](_joined(grid, row, column))
        outputs: OrderedDict[str, Tensor] = OrderedDict()
        if self.training:
            for column, head in enumerate(self.side_heads, start=1):
                outputs[_key(0, column)] = head(grid[0, column])
        levels = [
            F.interpolate(
                conv(grid[row, rows - 1 - row]),
                scale_factor=float(1 << row),
                mode="bilinear",
                align_corners=True,
            )
            for row, conv in enumerate(self.to_final, start=1)
        ]
        outputs["final"] = self.head(self.final(torch.cat([*reversed(levels), grid[0, rows - 1]], dim=1)))
        return outputs

    def deploy(self) -> DNANet:
        """As ``DetectorNetwork.deploy``, without the heads of the side outputs."""
        network = super().deploy()
        network.side_heads = nn.ModuleList()
        return network


def _key(row: int, column: int) -> str:
    return f"x{row}_{column}"


def _node(config: DNANetConfig, row: int, column: int) -> nn.Sequential:
    """The blocks of node x{row}_{column}, whose first takes the concatenation that ``_joined`` makes."""
    widths = config.widths
    if column == 0:
        in_channels = config.in_channels if row == 0 else widths[row - 1]
    else:
        in_channels = column * widths[row] + widths[row + 1] + (widths[row - 1] if row else 0)
    blocks = config.blocks[row - 1] if row else 1
    rest = (ResCBAM(widths[row], widths[row]) for _ in range(blocks - 1))
    return nn.Sequential(ResCBAM(in_channels, widths[row]), *rest)


def _joined(grid: Grid, row: int, column: int) -> Tensor:
    """Input of node x{row}_{column}: its row so far, the deeper neighbour upsampled, the shallower one halved."""
    parts = [grid[row, j] for j in range(column)]
    parts.append(upsample2(grid[row + 1, column - 1]))
    if row:
        shallow = grid[row - 1, column]
        parts.append(F.interpolate(shallow, scale_factor=0.5, mode="bilinear", align_corners=True))
    return torch.cat(parts, dim=1)
