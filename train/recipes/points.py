# SPDX-License-Identifier: Apache-2.0
"""Tasks that learn the pseudo-masks of points by the network alone: PAL and LESPS.

What makes them differ from full supervision, the labels that change, is no part of a task; see ``train/evolution``.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pitviper.core.models import DetectorNetwork
from pitviper.train.losses import hard_bce_loss, soft_iou_loss
from pitviper.train.point_config import LESPSConfig, PointConfig
from pitviper.train.recipes.supervised import mean_over_outputs, require_crops

_FOCAL_PROBABILITY = 2.0
_FOCAL_LABEL = 4.0


class PointTask(nn.Module):
    """The loss of one batch. Its only child is the network."""

    def __init__(self, network: DetectorNetwork, config: PointConfig) -> None:
        super().__init__()
        require_crops(network, config)
        self.network = network
        self.config = config

    def forward(self, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
        """Loss and its parts.

        Args:
            images: Standardised crops [B, C, S, S].
            masks: Labels [B, 1, S, S] in [0, 1].

        Returns:
            Scalars ``loss`` (with gradient) and its parts.
        """
        outputs, config = self.network.decode(self.network.encode(images)), self.config
        if isinstance(config, LESPSConfig):
            return {"loss": mean_over_outputs(outputs, masks, soft_focal_loss)}
        hard = mean_over_outputs(outputs, masks, lambda z, y: hard_bce_loss(z, y, keep=config.keep))
        parts = {"loss": config.bce_weight * hard, "hard_bce": hard.detach()}
        if config.iou_weight > 0.0:
            soft = mean_over_outputs(outputs, masks, soft_iou_loss)
            parts |= {"loss": parts["loss"] + config.iou_weight * soft, "soft_iou": soft.detach()}
        return parts


def soft_focal_loss(logits: Tensor, label: Tensor) -> Tensor:
    """Focal loss on soft labels, as LESPS has it: summed, and divided by the number of pixels with label 1.

    Pixels of label 1 are targets; the others are background, the less the closer their label is to 1.

    Args:
        logits: [B, 1, H, W].
        label: [B, 1, H, W] in [0, 1].
    """
    z, y = logits.float(), label.float()
    p = torch.sigmoid(z)
    target = y >= 1.0
    found = -((1 - p) ** _FOCAL_PROBABILITY) * F.logsigmoid(z)
    alarm = -((1 - y) ** _FOCAL_LABEL) * p**_FOCAL_PROBABILITY * F.logsigmoid(-z)
    return torch.where(target, found, alarm).sum() / target.sum().clamp(min=1)


def per_image_loss(outputs: Mapping[str, Tensor], masks: Tensor, config: PointConfig) -> Tensor:
    """Loss of each image alone, [B], averaged over the outputs of the network.

    The cross-entropy of an image is the mean over its hardest pixels, so that images do not compete for them.

    Args:
        outputs: Logits [B, 1, h, w] by name.
        masks: [B, 1, H, W] in [0, 1]; max-pooled for smaller outputs.
        config: ``keep``, ``bce_weight`` and ``iou_weight``.
    """
    total = torch.zeros(len(masks), device=masks.device)
    for z in outputs.values():
        y = masks if z.shape[-2:] == masks.shape[-2:] else F.adaptive_max_pool2d(masks, z.shape[-2:])
        pixels = F.binary_cross_entropy_with_logits(z.float(), y.float(), reduction="none").flatten(1)
        kept = max(1, round(config.keep * pixels.shape[1]))
        hardest = pixels if kept == pixels.shape[1] else pixels.topk(kept, dim=1).values
        total = total + config.bce_weight * hardest.mean(dim=1)
        if config.iou_weight > 0.0:
            each = [soft_iou_loss(one[None], truth[None]) for one, truth in zip(z, y, strict=True)]
            total = total + config.iou_weight * torch.stack(each)
    return total / len(outputs)
