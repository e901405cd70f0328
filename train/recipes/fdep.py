# SPDX-License-Identifier: Apache-2.0
"""FDEP: a frozen foundation model teaches through the bottleneck, and a light branch of the same weights is kept.

Source: arXiv 2512.05511, "CO-ISD". Two branches share encoder and decoder and are trained by one backward pass: the
main branch decodes the bottleneck behind a chain of SAMF modules, the light branch the plain one. The network in the
task is the light branch, weights and statistics, so that what is exported is the plain network.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pitviper.core.models import DetectorNetwork
from pitviper.core.modules.samf import SAMFChain
from pitviper.core.vfm import FrozenVFM
from pitviper.train.config import FDEPConfig
from pitviper.train.losses import distillation_loss
from pitviper.train.recipes.statistics import BranchStatistics, examine
from pitviper.train.recipes.supervised import detection_loss, require_crops

Outputs = OrderedDict[str, Tensor]


class FDEPTask(nn.Module):
    """The loss of one batch over both branches.

    Children: the network (the light branch), the SAMF chain, and the main branch's statistics of the decoder. The
    foundation model is none: it has no part in parameters, states, averages and copies.

    Args:
        network: Any detector network with an even number of channels in the bottleneck.
        vfm: Where the semantic maps come from.
        config: Settings.

    Raises:
        ValueError: The crops do not fit the network, or its bottleneck has an odd number of channels.
    """

    def __init__(self, network: DetectorNetwork, vfm: FrozenVFM, config: FDEPConfig) -> None:
        super().__init__()
        require_crops(network, config)
        attachment = examine(network)
        self.network = network
        self.samf = SAMFChain(
            network.stage_channels[network.bottleneck_index],
            vfm.D,
            length=vfm.L,
            style=config.samf_style,
            activation=attachment.rectified,
        )
        separate = config.statistics == "separate"
        self.main_statistics = BranchStatistics(network, attachment.decoder_norms if separate else ())
        self.config = config
        self._vfm = Unowned(vfm)

    @property
    def vfm(self) -> FrozenVFM:
        """The foundation model."""
        return self._vfm.module

    def forward(self, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Loss and its parts.

        Args:
            images: Standardised crops [B, C, S, S]; the foundation model sees the first plane of the same crop.
            masks: [B, 1, S, S] in [0, 1].

        Returns:
            Scalars: ``loss`` (with gradient), its parts ``main`` and ``light`` before weighting, ``soft_iou`` and
            ``hard_bce`` of the light branch, and ``distillation`` where its weight is above 0.
        """
        stages = self.network.encode(images)
        main, light = self._decode_both(self.fuse(stages, images), stages)
        config = self.config
        of_main, of_light = (
            detection_loss(outputs, masks, keep=config.keep, bce_weight=config.bce_weight)
            for outputs in (main, light)
        )
        parts = {
            "loss": of_main["loss"] + config.light_weight * of_light["loss"],
            "main": of_main["loss"].detach(),
            "light": of_light["loss"].detach(),
            "soft_iou": of_light["soft_iou"],
            "hard_bce": of_light["hard_bce"],
        }
        if config.distillation > 0.0:
            distilled = distillation_loss(light["final"], main["final"].detach())
            parts["loss"] = parts["loss"] + config.distillation * distilled
            parts["distillation"] = distilled.detach()
        return parts

    def fuse(self, stages: list[Tensor], images: Tensor) -> list[Tensor]:
        """The stages with the bottleneck replaced by what the SAMF chain makes of it and of the images [B, C, H, W]."""
        dtype = next(self.samf.parameters()).dtype
        levels = [level.to(dtype) for level in self.vfm(images[:, :1])]
        fused = list(stages)
        index = self.network.bottleneck_index
        fused[index] = self.samf(stages[index], levels)
        return fused

    def encode_main(self, images: Tensor) -> list[Tensor]:
        """The main branch's stages of images [B, C, H, W]."""
        return self.fuse(self.network.encode(images), images)

    def decode_main(self, stages: list[Tensor]) -> Outputs:
        """Decode fused stages with the main branch's statistics."""
        with self.main_statistics.in_use(self.network):
            return self.network.decode(stages)

    def main_branch(self) -> MainBranch:
        """The main branch as a network that can be evaluated; it shares everything with this task."""
        return MainBranch(self)

    def _decode_both(self, fused: list[Tensor], stages: list[Tensor]) -> tuple[Outputs, Outputs]:
        if self.config.statistics != "joint":
            return self.decode_main(fused), self.network.decode(stages)
        count = len(stages[0])
        both = self.network.decode([torch.cat(pair) for pair in zip(fused, stages, strict=True)])
        main = OrderedDict((name, z[:count]) for name, z in both.items())
        return main, OrderedDict((name, z[count:]) for name, z in both.items())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FDEPTask:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.vfm._apply(fn, recurse)
        return self


class TwoBranches(Protocol):
    """A task whose network is the branch that is kept, and which holds another one beside it."""

    network: DetectorNetwork

    def encode_main(self, images: Tensor) -> list[Tensor]:
        """Stages as the main branch's decoder sees them."""

    def decode_main(self, stages: list[Tensor]) -> Outputs:
        """Outputs of the main branch from its stages."""


class MainBranch(DetectorNetwork):
    """The branch with a foundation model, for evaluation. It needs that model, so it is never shipped."""

    def __init__(self, task: TwoBranches) -> None:
        super().__init__()
        network = task.network
        self.stage_channels = network.stage_channels
        self.stage_strides = network.stage_strides
        self.bottleneck_index = network.bottleneck_index
        self.required_multiple = network.required_multiple
        self.in_channels = network.in_channels
        self.config = network.config
        self.task = task

    def encode(self, x: Tensor) -> list[Tensor]:
        return self.task.encode_main(x)

    def decode(self, stages: list[Tensor]) -> Outputs:
        return self.task.decode_main(stages)

    def deploy(self) -> MainBranch:
        """Refused: what is deployed is the network of the task.

        Raises:
            TypeError: Always.
        """
        raise TypeError("the main branch needs its foundation model and is not deployed; deploy task.network")


class Unowned:
    """Keeps a module out of its holder's children; copies of the holder share it."""

    def __init__(self, module: FrozenVFM) -> None:
        self.module = module

    def __deepcopy__(self, memo: dict[int, Any]) -> Unowned:
        return self
