# SPDX-License-Identifier: Apache-2.0
"""SAMF: the fusion of a frozen foundation model's features into a detector's bottleneck.

Source: FDEP (arXiv 2512.05511). The wiring is read off the paper's figure, which is silent on kernel sizes, norms and
activations; those are this project's choice. SAMF belongs to training: the deployed network has none.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from pitviper.kernels import samf_join, samf_split
from pitviper.kernels.samf_fuse.reference import resize

STYLES = ("identity", "plain")


class SAMF(nn.Module):
    """Modulate one half of the channels by the semantic map, shift the other half by it, and add the result.

    With M and A two 1x1 convolutions of the semantic map S, and F1, F2 the halves of F::

        Y   = concat(conv_1(F1 * M), conv_2(F2 + A)) + F
        out = conv_o(Y)

    Args:
        channels: C of F; even.
        dim: D of S.
        style: "identity" starts as the identity: the batch norms behind conv_1 and conv_2 start at weight 0 and have
            no ReLU (behind a zero map its gradient is 0, and conv_1 to conv_a would stay at their start for ever),
            and conv_o starts as a Dirac kernel. "plain" is convolution, batch norm, ReLU for all three.
        activation: End with a ReLU. True where F itself comes out of a ReLU; false where it holds negative values,
            which a ReLU would cut off. "plain" always ends with one.

    Raises:
        ValueError: Odd ``channels`` or unknown ``style``.
    """

    def __init__(self, channels: int, dim: int, *, style: str = "identity", activation: bool = True) -> None:
        super().__init__()
        if channels % 2 or channels < 2:
            raise ValueError(
                f"SAMF splits the channels in two halves: it needs an even number, got {channels}"
            )
        if style not in STYLES:
            raise ValueError(f"style must be one of {', '.join(STYLES)}, got {style!r}")
        half = channels // 2
        self.channels = channels
        self.dim = dim
        self.conv_m = nn.Conv2d(dim, half, 1)
        self.conv_a = nn.Conv2d(dim, half, 1)
        self.conv_1 = _conv_norm(half)
        self.conv_2 = _conv_norm(half)
        self.conv_o: nn.Module
        for conv, bias in ((self.conv_m, 1.0), (self.conv_a, 0.0)):
            nn.init.normal_(conv.weight, std=0.02)
            assert conv.bias is not None
            nn.init.constant_(conv.bias, bias)
        if style == "identity":
            out = nn.Conv2d(channels, channels, 3, padding=1)
            nn.init.dirac_(out.weight)
            assert out.bias is not None
            nn.init.zeros_(out.bias)
            self.conv_o = nn.Sequential(out, nn.ReLU()) if activation else out
            for branch in (self.conv_1, self.conv_2):
                norm = branch[1]
                assert isinstance(norm, nn.BatchNorm2d)
                nn.init.zeros_(norm.weight)
        else:
            self.conv_1.append(nn.ReLU())
            self.conv_2.append(nn.ReLU())
            self.conv_o = _conv_norm(channels).append(nn.ReLU())

    def forward(self, features: Tensor, semantics: Tensor) -> Tensor:
        """Fuse one level of the foundation model.

        Args:
            features: F [B, C, h, w].
            semantics: S [B, D, h', w'], any size, over the same field of view.

        Returns:
            [B, C, h, w]; exactly F at the start of style "identity" (in float32, where F >= 0 or without activation).

        Raises:
            ValueError: C or D differ from those of the constructor.
        """
        for name, tensor, want in (("features", features, self.channels), ("semantics", semantics, self.dim)):
            if tensor.ndim != 4 or tensor.shape[1] != want:
                raise ValueError(f"{name} must be [B, {want}, height, width], got {list(tensor.shape)}")
        scale, shift = self.prior(semantics, (features.shape[2], features.shape[3]))
        first, second = samf_split(features, scale, shift)
        out: Tensor = self.conv_o(samf_join(self.conv_1(first), self.conv_2(second), features))
        return out

    def prior(self, semantics: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """M and A, of S [B, D, h', w'] normed over D without parameters.

        Bilinear resizing and a 1x1 convolution commute, because the weights of the first sum to 1: the map is resized
        first where that makes it smaller than the features' ``size`` (h, w); otherwise M and A are, by `samf_split`.
        """
        tokens = F.layer_norm(semantics.movedim(1, -1), (self.dim,)).movedim(-1, 1)
        if size[0] * size[1] < semantics.shape[2] * semantics.shape[3]:
            tokens = resize(tokens, size)
        return self.conv_m(tokens), self.conv_a(tokens)

    def modulation(self, semantics: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """M and A as the features see them, each [B, C / 2, h, w] for size (h, w)."""
        scale, shift = self.prior(semantics, size)
        return resize(scale, size), resize(shift, size)


class SAMFChain(nn.Module):
    """n SAMF modules in a row: F_k = SAMF_k(F_{k-1}, level_k), levels shallow to deep.

    Args:
        channels: C of the bottleneck, ``network.stage_channels[network.bottleneck_index]``.
        dim: D of the foundation model, ``vfm.D``.
        length: n, the number of levels that ``vfm`` returns, ``vfm.L``.
        style: As in ``SAMF``.
        activation: As in ``SAMF``.

    Raises:
        ValueError: ``length`` below 1, odd ``channels`` or unknown ``style``.
    """

    def __init__(
        self, channels: int, dim: int, *, length: int = 4, style: str = "identity", activation: bool = True
    ) -> None:
        super().__init__()
        if length < 1:
            raise ValueError(f"a chain needs one SAMF or more, got length={length}")
        self.links = nn.ModuleList(
            SAMF(channels, dim, style=style, activation=activation) for _ in range(length)
        )

    def forward(self, features: Tensor, levels: Sequence[Tensor]) -> Tensor:
        """The feature that replaces the bottleneck for everything downstream of it.

        Args:
            features: F_0 [B, C, h, w], output of the encoder.
            levels: n maps [B, D, h', w'].

        Returns:
            F_n [B, C, h, w].

        Raises:
            ValueError: Another number of levels than the chain has links.
        """
        if len(levels) != len(self.links):
            raise ValueError(
                f"the chain has {len(self.links)} SAMF modules and got {len(levels)} levels; give it one level each"
            )
        for link, level in zip(self.links, levels, strict=True):
            features = link(features, level)
        return features


def _conv_norm(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels))
