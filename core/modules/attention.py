# SPDX-License-Identifier: Apache-2.0
"""Channel and spatial attention and the residual block that holds both.

Source: Woo et al., "CBAM: Convolutional Block Attention Module" (ECCV 2018), in the form of Li et al., "Dense Nested
Attention Network for Infrared Small Target Detection" (TIP 2023).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Gate [B, C, 1, 1] in (0, 1) from the average and the maximum of each channel of [B, C, H, W].

    The hidden width is C / ``reduction``, and at least 1.
    """

    def __init__(self, channels: int, *, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.shared = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        average, maximum = F.adaptive_avg_pool2d(x, 1), x.amax(dim=(2, 3), keepdim=True)
        return torch.sigmoid(self.shared(average) + self.shared(maximum))


class SpatialAttention(nn.Module):
    """Gate [B, 1, H, W] in (0, 1) from the mean and the maximum over the channels of [B, C, H, W]."""

    def __init__(self, k: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, k, padding=k // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat((x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)), dim=1)
        return torch.sigmoid(self.conv(pooled))


class ResCBAM(nn.Module):
    """Residual block with channel, then spatial attention: [B, C_in, H, W] -> [B, C_out, H, W].

    The shortcut is the identity, or a 1x1 convolution with batch norm where the channels change.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
        )
        self.channel = ChannelAttention(out_channels)
        self.spatial = SpatialAttention()
        self.shortcut: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        y = self.channel(y) * y
        y = self.spatial(y) * y
        return F.relu(y + self.shortcut(x))
