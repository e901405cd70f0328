# SPDX-License-Identifier: Apache-2.0
"""What the recipes see of a foundation model: a frozen function from a standardised frame to maps of features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Share of the pixels at each end that may fall outside the middle of the range, and where that middle begins.
_TAIL = 0.01
_MARGIN = 0.1


class Backbone(nn.Module, ABC):
    """A vision transformer behind ``FrozenVFM``.

    Attributes:
        patch_size: Side of a patch in pixels.
        dim: Width D of its tokens.
        depth: Number of blocks.
    """

    patch_size: int
    dim: int
    depth: int

    @abstractmethod
    def intermediate(self, images: Tensor, levels: Sequence[int]) -> list[Tensor]:
        """Patch tokens after some blocks, before the final norm, without class token and registers.

        Args:
            images: [B, 3, H, W], normalised, H and W multiples of ``patch_size``.
            levels: Numbers of blocks in rising order; 1 is the first.

        Returns:
            One [B, D, H / patch_size, W / patch_size] for each level.
        """


class FrozenVFM(nn.Module):
    """Maps of a foundation model's features at some levels, shallow to deep; never trained, never saved.

    The backbone is no submodule: it moves with ``.to()``, but has no part in ``parameters()`` (so in no optimiser),
    ``state_dict()`` (so in no checkpoint) or ``.train()``, and no gradient passes it.

    Args:
        backbone: The transformer; set to evaluation mode, and its parameters to no gradient.
        levels: Numbers of blocks whose outputs are returned, in rising order, 1 the first; by default four equally
            spaced ones, the last included.
        mean: What the backbone expects to be subtracted from its input in [0, 1], per channel.
        std: What it expects the difference to be divided by.
        scale: The backbone sees the frame enlarged so many times (bilinear), so that a patch covers fewer pixels of
            the frame: a target of three pixels is a fifth of a patch of 16, and most of one of 4. Costs its square.

    Attributes:
        patch_size: Side of a patch in pixels of the frame.
        D: Channels of each map.
        L: Number of maps.
        levels: Numbers of the blocks.
        scale: As given.

    Raises:
        ValueError: ``levels`` is empty, not rising, or out of 1 to the backbone's depth; ``scale`` does not divide the
            patch.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: Backbone,
        *,
        levels: Sequence[int] | None = None,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
        scale: int = 1,
    ) -> None:
        super().__init__()
        if scale < 1 or backbone.patch_size % scale:
            raise ValueError(
                f"scale must be a whole number that divides the patch of {backbone.patch_size} pixels, got {scale}"
            )
        chosen = default_levels(backbone.depth) if levels is None else tuple(levels)
        if not chosen or list(chosen) != sorted(set(chosen)) or chosen[0] < 1 or chosen[-1] > backbone.depth:
            raise ValueError(
                f"levels must rise and lie within 1 and {backbone.depth}, the blocks of this backbone; got {chosen}"
            )
        self.levels = chosen
        self.scale = scale
        self.patch_size = backbone.patch_size // scale
        self.D = backbone.dim
        self.L = len(chosen)
        self._hidden = (backbone.eval().requires_grad_(False),)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    @property
    def backbone(self) -> Backbone:
        """The transformer itself."""
        return self._hidden[0]

    @torch.no_grad()
    def forward(self, frames: Tensor) -> list[Tensor]:
        """Features of standardised frames.

        Args:
            frames: [B, 1, H, W] float, any H and W: what the detector sees, with the same geometry.

        Returns:
            L maps [B, D, ceil(H / patch_size), ceil(W / patch_size)] float32, each over the field of view of the
            frame and no more: where H or W is no multiple of the patch, the frame is padded at the bottom and right by
            its border, and the map resampled so that its cells divide the frame evenly.

        Raises:
            ValueError: Another shape.
        """
        if frames.ndim != 4 or frames.shape[1] != 1:
            raise ValueError(f"the VFM takes standardised frames [B, 1, H, W], got {list(frames.shape)}")
        images = (to_unit_range(frames) - self.mean.float()) / self.std.float()
        height, width = frames.shape[-2:]
        bottom, right = -height % self.patch_size, -width % self.patch_size
        images = F.pad(images, (0, right, 0, bottom), mode="replicate")
        if self.scale > 1:
            images = F.interpolate(images, scale_factor=self.scale, mode="bilinear", align_corners=False)
        weight = next(self.backbone.parameters())
        maps = self.backbone.intermediate(images.to(weight.dtype), self.levels)
        return [_without_padding(m.float(), (height, width), self.patch_size) for m in maps]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FrozenVFM:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.backbone._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


def default_levels(depth: int) -> tuple[int, ...]:
    """Four equally spaced blocks, the last included: 3, 6, 9, 12 of 12. All of them where there are four or fewer."""
    if depth <= 4:
        return tuple(range(1, depth + 1))
    return tuple(depth * k // 4 for k in (1, 2, 3, 4))


def to_unit_range(frames: Tensor) -> Tensor:
    """Map each frame to [0, 1] so that a few extreme pixels cannot squeeze the rest.

    The 1st and 99th percentile of the frame go to 0.1 and 0.9, linearly, and what leaves [0, 1] is clipped. A frame
    whose percentiles coincide is mapped by its extremes instead; a constant frame becomes 0.5. The result does not
    change when the frame is multiplied by a positive number or shifted.

    Args:
        frames: [B, 1, H, W], any range.

    Returns:
        [B, 1, H, W] float32 in [0, 1].
    """
    x = frames.float()
    flat = x.flatten(1)
    count = flat.shape[1]
    tail = max(1, round(_TAIL * count))
    low = flat.kthvalue(tail, dim=1).values
    high = flat.kthvalue(count - tail + 1, dim=1).values
    spread = high > low
    low = torch.where(spread, low, flat.amin(dim=1)).view(-1, 1, 1, 1)
    high = torch.where(spread, high, flat.amax(dim=1)).view(-1, 1, 1, 1)
    scaled = _MARGIN + (1 - 2 * _MARGIN) * (x - low) / (high - low)
    return torch.where(high > low, scaled, torch.full_like(x, 0.5)).clamp(0.0, 1.0)


def _without_padding(features: Tensor, size: tuple[int, int], patch: int) -> Tensor:
    """Resample a map over the padded frame, linearly, to as many cells over the frame of this size alone."""
    for axis, length in zip((2, 3), size, strict=True):
        padded = features.shape[axis] * patch
        if padded != length:
            features = _first_part(features, axis, length / padded)
    return features


def _first_part(features: Tensor, axis: int, share: float) -> Tensor:
    """As many cells over the first ``share`` of an axis as there are over all of it."""
    # F.interpolate cannot: it copies its input where the number of cells stays, whatever scale it is given.
    cells = features.shape[axis]
    places = ((torch.arange(cells, device=features.device) + 0.5) * share - 0.5).clamp(min=0.0)
    low = places.long()
    part = (places - low).view(-1, 1) if axis == 2 else places - low
    high = (low + 1).clamp(max=cells - 1)
    return torch.lerp(features.index_select(axis, low), features.index_select(axis, high), part)
