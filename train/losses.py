# SPDX-License-Identifier: Apache-2.0
"""Losses for maps in which one pixel in a thousand is target. Logits in, scalar out, computed in float32."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_iou_loss(logits: Tensor, target: Tensor, *, smooth: float = 1.0) -> Tensor:
    """1 - (sum p y + s) / (sum p + sum y - sum p y + s) per image, averaged over the batch.

    Rahman and Wang, "Optimizing Intersection-Over-Union in Deep Neural Networks for Image Segmentation" (2016), with
    the smoothing s that the infrared small-target literature uses.

    Args:
        logits: [B, 1, H, W].
        target: [B, 1, H, W] in [0, 1].
        smooth: s, in pixels; it gives an image without target a loss that falls to 0 with the predicted mass.
    """
    probability = torch.sigmoid(logits.float()).flatten(1)
    truth = target.float().flatten(1)
    common = (probability * truth).sum(1)
    union = probability.sum(1) + truth.sum(1) - common
    return (1.0 - (common + smooth) / (union + smooth)).mean()


def hard_bce_loss(logits: Tensor, target: Tensor, *, keep: float = 0.5) -> Tensor:
    """Binary cross-entropy averaged over the hardest share of the batch's pixels (ties at the limit are kept).

    The hard-example mining of PAL ("progressive active learning" for single-point supervision); its edge weighting
    is inactive in the published code and left out here.

    Args:
        logits: [B, 1, H, W].
        target: [B, 1, H, W] in [0, 1].
        keep: Share of pixels kept, in (0, 1].
    """
    if not 0.0 < keep <= 1.0:
        raise ValueError(f"keep must be in (0, 1], got {keep}")
    losses = F.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none").flatten()
    skipped = int((1.0 - keep) * losses.numel())
    if skipped == 0:
        return losses.mean()
    limit = losses.detach().kthvalue(skipped + 1).values
    return losses[losses >= limit].mean()


def distillation_loss(student: Tensor, teacher: Tensor, *, temperature: float = 4.0) -> Tensor:
    """Mean over pixels and images of (sigmoid(z_s / T) - sigmoid(z_t / T))^2.

    The term of "Learning with Semantic Priors" (arXiv 2605.14346), without the factor T^2. T flattens the sigmoid, so
    the value is small wherever both branches say "no target": it needs a weight far above 1 to be felt.

    Args:
        student: z_s, logits [B, 1, H, W].
        teacher: z_t, logits of the same shape; detach them where the teacher is not to learn from it.
        temperature: T.
    """
    difference = torch.sigmoid(student.float() / temperature) - torch.sigmoid(teacher.float() / temperature)
    return difference.square().mean()
