# SPDX-License-Identifier: Apache-2.0
"""Losses of the recipes that learn from points."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import Tensor

from pitviper.core.models import create_model
from pitviper.train.losses import hard_bce_loss, soft_iou_loss
from pitviper.train.point_config import LESPSConfig, PALConfig
from pitviper.train.recipes.points import PointTask, per_image_loss, soft_focal_loss


def logits(count: int = 2, side: int = 16) -> Tensor:
    return torch.randn(count, 1, side, side, generator=torch.Generator().manual_seed(0))


def label(count: int = 2, side: int = 16) -> Tensor:
    y = torch.zeros(count, 1, side, side)
    y[:, :, 3, 4] = 1.0
    return y


def test_each_image_alone() -> None:
    z, y = logits(), label()
    config = PALConfig(keep=0.25, iou_weight=0.5, bce_weight=2.0)
    found = per_image_loss(OrderedDict(final=z), y, config)
    for index in range(2):
        one, truth = z[index : index + 1], y[index : index + 1]
        expected = 2.0 * hard_bce_loss(one, truth, keep=0.25) + 0.5 * soft_iou_loss(one, truth)
        torch.testing.assert_close(found[index], expected)


def test_outputs_are_averaged_and_small_ones_lose_no_target() -> None:
    outputs = OrderedDict(side=torch.full((1, 1, 4, 4), -8.0), final=torch.zeros(1, 1, 16, 16))
    with_target = per_image_loss(outputs, label(1), PALConfig(keep=1.0, iou_weight=0.0))
    without = per_image_loss(outputs, label(1) * 0, PALConfig(keep=1.0, iou_weight=0.0))
    zeros = per_image_loss(
        OrderedDict(a=torch.zeros(1, 1, 4, 4), b=torch.zeros(1, 1, 16, 16)),
        label(1),
        PALConfig(iou_weight=0.0),
    )
    torch.testing.assert_close(zeros, torch.full((1,), 0.693147), atol=1e-5, rtol=0)
    assert with_target - without > 0.2, "one of 16 pixels of the small output is wrong by 8"


def test_soft_focal_loss_by_hand() -> None:
    """p = 0.5 everywhere: a target gives 0.25 log 2, a pixel of label y gives (1 - y)^4 of that."""
    y = torch.tensor([1.0, 0.0, 0.5, 1.0]).view(1, 1, 2, 2)
    found = soft_focal_loss(torch.zeros(1, 1, 2, 2), y)
    expected = 0.25 * torch.tensor(2.0).log() * (1 + 1 + 1 + 0.0625) / 2
    torch.testing.assert_close(found, expected)
    background = soft_focal_loss(torch.zeros(1, 1, 2, 2), y * 0)
    torch.testing.assert_close(background, torch.tensor(2.0).log())
    confident = soft_focal_loss(torch.full((1, 1, 2, 2), 200.0), y * 0)
    assert torch.isfinite(confident)


@pytest.mark.parametrize(
    "config", [PALConfig(crops=((1.0, 64),), iou_weight=0.0), LESPSConfig(crops=((1.0, 64),))]
)
def test_tasks_learn(config: PALConfig) -> None:
    torch.manual_seed(0)
    task = PointTask(create_model("pit-n"), config)
    y = label(2, 64)
    images = torch.randn(2, 1, 64, 64) + 8.0 * y
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-2)
    losses = []
    for _ in range(12):
        parts = task(images, y)
        parts["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(parts["loss"].detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="decay must be above 0"):
        PALConfig(decay=0.0)
    with pytest.raises(ValueError, match="pal takes no --synthetic"):
        PALConfig(synthetic=1)
    with pytest.raises(ValueError, match="multiples of"):
        PointTask(create_model("pit-s"), PALConfig(model="pit-s", crops=((1.0, 60),)))
