# SPDX-License-Identifier: Apache-2.0
"""The contract that every detector network keeps, so that SAMF, SCAM, recipes and engines know none by name."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections import OrderedDict
from itertools import pairwise
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

Self = TypeVar("Self", bound="DetectorNetwork")


class DetectorNetwork(nn.Module, ABC):
    """Encoder-decoder that maps a standardised frame to logits of the same size.

    Input [B, in_channels, H, W] float, H and W multiples of ``required_multiple``. ``decode`` returns an ordered
    mapping whose key ``"final"`` holds the logits [B, 1, H, W]; probability is their sigmoid. Other keys are
    outputs for deep supervision, only in training mode.

    Attributes:
        stage_channels: Channels of each map that ``encode`` returns.
        stage_strides: Stride of each of these maps against the input.
        bottleneck_index: Index of the map that SAMF replaces.
        in_channels: Planes of the input.
        config: The frozen dataclass that built the network; the weights file stores it.
        required_multiple: H and W of the input must be multiples of it.
    """

    stage_channels: tuple[int, ...]
    stage_strides: tuple[int, ...]
    bottleneck_index: int = -1
    required_multiple: int
    in_channels: int
    config: Any
    version: ClassVar[str] = "1"

    @abstractmethod
    def encode(self, x: Tensor) -> list[Tensor]:
        """Stage features, shallow to deep: [B, stage_channels[i], H / stage_strides[i], W / stage_strides[i]]."""

    @abstractmethod
    def decode(self, stages: list[Tensor]) -> OrderedDict[str, Tensor]:
        """Outputs of the decoder from the stage features; ``"final"`` holds logits [B, 1, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, 1, H, W] of frames [B, in_channels, H, W]."""
        height, width = x.shape[-2:]
        multiple = self.required_multiple
        if height % multiple or width % multiple:
            raise ValueError(
                f"{type(self).__name__} needs H and W that are multiples of {multiple}, got {height}x{width}; "
                f"pad first: kernels.standardise(frame, stride={multiple})"
            )
        return self.decode(self.encode(x))["final"]

    def deploy(self: Self) -> Self:
        """A copy in evaluation mode with every re-parameterised block and batch norm folded into plain convolutions.

        Computes the same function as this network in evaluation mode, up to float32 rounding.
        """
        network = copy.deepcopy(self).eval()
        _fuse_children(network)
        for parameter in network.parameters():
            parameter.requires_grad_(False)
        return network


def _fuse_children(module: nn.Module) -> None:
    if isinstance(module, nn.Sequential):
        _fold_sequential(module)
    for name, child in list(module.named_children()):
        fuse = getattr(child, "fuse", None)
        if fuse is not None:
            setattr(module, name, fuse())
        else:
            _fuse_children(child)


def _fold_sequential(sequence: nn.Sequential) -> None:
    """Replace each convolution that is directly followed by a batch norm by one convolution with bias."""
    children = list(sequence.named_children())
    for (name, conv), (norm_name, norm) in pairwise(children):
        if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d):
            fold = nn.utils.fusion.fuse_conv_bn_eval
            fused = fold(conv.eval(), norm.eval(), transpose=isinstance(conv, nn.ConvTranspose2d))
            setattr(sequence, name, fused)
            setattr(sequence, norm_name, nn.Identity())
