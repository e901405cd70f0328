# SPDX-License-Identifier: Apache-2.0
"""Full supervision: masks as targets, soft IoU and hard-mined cross-entropy on every output of the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from pitviper.core.models import DetectorNetwork
from pitviper.train.config import DetectorConfig, SupervisedConfig
from pitviper.train.losses import hard_bce_loss, soft_iou_loss

LossFunction = Callable[[Tensor, Tensor], Tensor]


class SupervisedTask(nn.Module):
    """The loss of one batch. Its only child is the network, so DDP and EMA see nothing else."""

    def __init__(self, network: DetectorNetwork, config: SupervisedConfig) -> None:
        super().__init__()
        require_crops(network, config)
        self.network = network
        self.keep = config.keep
        self.bce_weight = config.bce_weight

    def forward(self, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Loss and its parts.

        Args:
            images: Standardised crops [B, C, S, S].
            masks: [B, 1, S, S] in [0, 1].

        Returns:
            Scalars ``loss`` (with gradient), ``soft_iou`` and ``hard_bce``, averaged over the outputs.
        """
        outputs = self.network.decode(self.network.encode(images))
        return detection_loss(outputs, masks, keep=self.keep, bce_weight=self.bce_weight)


def detection_loss(
    outputs: Mapping[str, Tensor], masks: Tensor, *, keep: float, bce_weight: float
) -> dict[str, Tensor]:
    """Soft IoU and ``bce_weight`` times hard-mined cross-entropy, each averaged over all outputs of a network.

    Args:
        outputs: Logits [B, 1, h, w] by name.
        masks: [B, 1, H, W] in [0, 1].
        keep: Share of pixels that the cross-entropy keeps.
        bce_weight: Weight of the cross-entropy.

    Returns:
        Scalars ``loss`` (with gradient), ``soft_iou`` and ``hard_bce``.
    """
    soft_iou = mean_over_outputs(outputs, masks, soft_iou_loss)
    hard_bce = mean_over_outputs(outputs, masks, lambda z, y: hard_bce_loss(z, y, keep=keep))
    loss = soft_iou + bce_weight * hard_bce
    return {"loss": loss, "soft_iou": soft_iou.detach(), "hard_bce": hard_bce.detach()}


def require_crops(network: DetectorNetwork, config: DetectorConfig) -> None:
    """Refuse crops that the network cannot take.

    Raises:
        ValueError: A side is no multiple of ``network.required_multiple``.
    """
    multiple = network.required_multiple
    odd = [size for _, size in config.crops if size % multiple]
    if odd:
        raise ValueError(f"{config.model} needs crops that are multiples of {multiple} pixels, got {odd}")


def mean_over_outputs(outputs: Mapping[str, Tensor], masks: Tensor, loss: LossFunction) -> Tensor:
    """Average a loss over all outputs; for a smaller output the mask is max-pooled, so that no target is lost."""
    total = sum(
        loss(z, masks if z.shape[-2:] == masks.shape[-2:] else _pool(masks, z)) for z in outputs.values()
    )
    assert isinstance(total, Tensor)
    return total / len(outputs)


def _pool(masks: Tensor, like: Tensor) -> Tensor:
    return F.adaptive_max_pool2d(masks, (like.shape[-2], like.shape[-1]))
