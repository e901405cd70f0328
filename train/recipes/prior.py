# SPDX-License-Identifier: Apache-2.0
"""A prior from unlabelled infrared frames: hidden patches are reconstructed, and planted points of light are found.

Reconstruction is that of He et al., "Masked Autoencoders Are Scalable Vision Learners" (CVPR 2022): the transformer
sees the other patches alone, and a small decoder predicts the hidden ones. A target of three pixels is nothing that
its surroundings foretell, so reconstruction alone teaches to ignore it. Points of light are therefore planted, and
the features of the patches that are seen must tell what was added to them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pitviper.core.vfm import to_unit_range
from pitviper.train.config import PriorConfig

_DECODER_WIDTH = 128
_BEHIND_THE_FEATURES = ("attn_pool", "fc_norm", "head")
"""Parts of timm's transformers that ``forward_features`` does not call: those that pool tokens into one vector."""
_DECODER_HEADS = 4
_UNIT_AREA = 128 * 128

# Peak of a planted point in units of the frame's own residual, and its standard deviation along each axis in pixels.
_PEAK = (2.0, 20.0)
_SIGMA = (0.5, 2.5)


class PriorTask(nn.Module):
    """The loss of one batch. Children: the transformer, which is kept, and the heads, which are not.

    Args:
        network: A vision transformer of timm; its ``patch_drop`` is replaced, and what pools tokens is frozen.
        config: Settings.
        mean: What the transformer expects to be subtracted from its input in [0, 1], per channel.
        std: What it expects the difference to be divided by.

    Raises:
        ValueError: A crop is no multiple of the patch, or so few patches that none would be hidden or seen.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: Any, config: PriorConfig, *, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.patch_size = int(network.patch_embed.patch_size[0])
        _require_crops(config, self.patch_size)
        self.prefix = int(network.num_prefix_tokens)
        self.visible = _VisiblePatches(self.prefix, with_indices=hasattr(network, "rope"))
        network.patch_drop = self.visible
        for name in _BEHIND_THE_FEATURES:
            # No gradient reaches them, and of several processes each would wait for it.
            if isinstance(part := getattr(network, name, None), nn.Module):
                part.requires_grad_(False)
        pixels = self.patch_size**2
        self.norm = nn.LayerNorm(network.embed_dim)
        self.decoder = _Decoder(network.embed_dim, pixels)
        self.points = nn.Linear(network.embed_dim, pixels)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Loss and its parts.

        Args:
            images: Standardised crops [B, 1, S, S].
            masks: Not read.

        Returns:
            Scalars ``loss`` (with gradient), ``hidden`` (mean squared error of the hidden patches, each relative to
            its own mean and deviation) and ``planted`` (mean squared error of the light that was added to the seen
            patches, in the same deviations, before weighting).
        """
        del masks
        light = plant_points(images, self.config.points * images[0, 0].numel() / _UNIT_AREA)
        tokens, seen, hidden = self._encode(images + light)
        clean, added = (_patches(x, self.patch_size) for x in (images.float(), light.float()))
        deviation = (clean.var(dim=2, keepdim=True, correction=0) + 1.0).sqrt()
        detail = (clean - clean.mean(dim=2, keepdim=True)) / deviation
        reconstructed = self.decoder(tokens, seen, hidden)
        of_hidden = F.mse_loss(reconstructed.float(), _take(detail, hidden))
        of_planted = F.mse_loss(self.points(tokens).float(), _take(added / deviation, seen))
        loss = of_hidden + self.config.point_weight * of_planted
        return {"loss": loss, "hidden": of_hidden.detach(), "planted": of_planted.detach()}

    def _encode(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens of the seen patches [B, K, D], and the indices of the seen [B, K] and the hidden [B, N - K] ones."""
        # The same conversion as in FrozenVFM, from what the detector sees to what the transformer expects.
        inputs = (to_unit_range(frames) - self.mean) / self.std
        count = (frames.shape[-1] // self.patch_size) * (frames.shape[-2] // self.patch_size)
        order = torch.rand(len(frames), count, device=frames.device).argsort(dim=1)
        kept = count - round(self.config.masked * count)
        seen, hidden = order[:, :kept], order[:, kept:]
        self.visible.indices = seen
        tokens = self.network.forward_features(inputs)
        self.visible.indices = None
        return self.norm(tokens[:, self.prefix :]), seen, hidden


class _VisiblePatches(nn.Module):
    """Stands in for timm's patch dropout: lets the prefix tokens and the chosen patches through."""

    def __init__(self, prefix: int, *, with_indices: bool) -> None:
        super().__init__()
        self.prefix = prefix
        self.with_indices = with_indices
        self.indices: Tensor | None = None

    def forward(self, tokens: Tensor) -> Tensor | tuple[Tensor, Tensor | None]:
        if self.indices is not None:
            chosen = _take(tokens[:, self.prefix :], self.indices)
            tokens = torch.cat((tokens[:, : self.prefix], chosen), dim=1)
        return (tokens, self.indices) if self.with_indices else tokens


class _Decoder(nn.Module):
    """One narrow transformer block over all patches, the hidden ones replaced by one learned token."""

    def __init__(self, dim: int, pixels: int) -> None:
        from timm.models.vision_transformer import Block

        super().__init__()
        self.embed = nn.Linear(dim, _DECODER_WIDTH)
        self.hidden = nn.Parameter(torch.randn(_DECODER_WIDTH) * 0.02)
        self.block = Block(_DECODER_WIDTH, _DECODER_HEADS, qkv_bias=True)
        self.norm = nn.LayerNorm(_DECODER_WIDTH)
        self.head = nn.Linear(_DECODER_WIDTH, pixels)

    def forward(self, tokens: Tensor, seen: Tensor, hidden: Tensor) -> Tensor:
        """Pixels [B, N - K, P] of the hidden patches from the tokens [B, K, D] of the seen ones; a square grid."""
        count = seen.shape[1] + hidden.shape[1]
        positions = grid_positions(math.isqrt(count), _DECODER_WIDTH).to(tokens)
        known = self.embed(tokens) + positions[seen]
        asked = self.hidden + positions[hidden]
        tokens = self.block(torch.cat((known, asked.to(known.dtype)), dim=1))
        pixels: Tensor = self.head(self.norm(tokens[:, seen.shape[1] :]))
        return pixels


def grid_positions(side: int, dim: int) -> Tensor:
    """Sines and cosines of row and column, [side * side, dim], row-major."""
    from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed

    return build_sincos2d_pos_embed([side, side], dim=dim)


def plant_points(images: Tensor, count: float) -> Tensor:
    """Light of Gaussian points at random places, peaks and widths, drawn from torch's generator.

    Args:
        images: Standardised crops [B, 1, H, W], for their shape and device.
        count: Points in each; rounded.

    Returns:
        [B, 1, H, W] float32, at least 0, to be added to the crops.
    """
    batch, _, height, width = images.shape
    number = round(count)
    device = images.device

    def between(low: float, high: float) -> Tensor:
        drawn = torch.rand(batch, number, 1, device=device)
        return torch.exp(math.log(low) + drawn * math.log(high / low))

    def profile(length: int) -> Tensor:
        centre = torch.rand(batch, number, 1, device=device) * length
        away = torch.arange(length, device=device) + 0.5 - centre
        return torch.exp(-0.5 * (away / between(*_SIGMA)) ** 2)

    rows, columns = profile(height) * between(*_PEAK), profile(width)
    return torch.einsum("bnh,bnw->bhw", rows, columns)[:, None]


def _patches(images: Tensor, side: int) -> Tensor:
    """[B, 1, H, W] as [B, N, side * side], patches row-major."""
    return F.unfold(images, side, stride=side).transpose(1, 2)


def _take(values: Tensor, indices: Tensor) -> Tensor:
    """values[b, indices[b, k]] for [B, N, D] and [B, K]."""
    return values.gather(1, indices[..., None].expand(-1, -1, values.shape[2]))


def _require_crops(config: PriorConfig, patch: int) -> None:
    for _, side in config.crops:
        count = (side // patch) ** 2
        if side % patch:
            raise ValueError(f"crops must be multiples of the patch, {patch} pixels, got {side}")
        if not 0 < round(config.masked * count) < count:
            raise ValueError(
                f"a crop of {side} pixels has {count} patches: none is left to hide or to see; take larger crops"
            )
