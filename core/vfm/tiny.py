# SPDX-License-Identifier: Apache-2.0
"""A small vision transformer with seeded random weights, so that tests and dry runs need no download."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pitviper.core.vfm.adapter import Backbone


class TinyRandomViT(Backbone):
    """Transformer of a few narrow blocks. The same seed gives the same weights; the global generator is left alone.

    Args:
        seed: Of the weights.
        dim: Width D; a multiple of 8.
        depth: Blocks.
        patch_size: Side of a patch in pixels.
        registers: Register tokens beside the class token.
    """

    def __init__(
        self, seed: int = 0, *, dim: int = 32, depth: int = 4, patch_size: int = 16, registers: int = 0
    ) -> None:
        super().__init__()
        if dim % 8:
            raise ValueError(f"dim must be a multiple of 8, got {dim}")
        self.patch_size = patch_size
        self.dim = dim
        self.depth = depth
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embed = nn.Conv2d(3, dim, patch_size, patch_size)
            self.prefix = nn.Parameter(torch.randn(1, 1 + registers, dim))
            self.blocks = nn.ModuleList(
                nn.TransformerEncoderLayer(
                    dim, dim // 8, 4 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
                )
                for _ in range(depth)
            )

    def intermediate(self, images: Tensor, levels: Sequence[int]) -> list[Tensor]:
        patches = self.embed(images)
        size = (patches.shape[2], patches.shape[3])
        patches = patches + _positions(size, self.dim).to(patches)
        prefix = self.prefix.expand(len(images), -1, -1)
        tokens = torch.cat((prefix.to(patches.dtype), patches.flatten(2).transpose(1, 2)), dim=1)
        maps = []
        for number, block in enumerate(self.blocks, start=1):
            tokens = block(tokens)
            if number in levels:
                maps.append(tokens[:, prefix.shape[1] :].transpose(1, 2).unflatten(2, size))
        return maps


def _positions(size: tuple[int, int], dim: int) -> Tensor:
    """Sines and cosines of row and column at dim / 4 frequencies: [1, dim, height, width]."""
    rates = 100.0 ** -(torch.arange(dim // 4) / (dim // 4))
    rows, columns = (torch.arange(n)[:, None] * rates for n in size)
    parts = [
        f(angles).t().unsqueeze(axis).expand(dim // 4, *size)
        for angles, axis in ((rows, 2), (columns, 1))
        for f in (torch.sin, torch.cos)
    ]
    return torch.cat(parts)[None]
