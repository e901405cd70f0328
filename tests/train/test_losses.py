# SPDX-License-Identifier: Apache-2.0
"""Losses against closed forms and against the frames that break averages: empty, full, one pixel."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from pitviper.core.models import create_model
from pitviper.train.config import SupervisedConfig
from pitviper.train.losses import hard_bce_loss, soft_iou_loss
from pitviper.train.recipes.supervised import SupervisedTask, mean_over_outputs


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def test_soft_iou_closed_form() -> None:
    """p = 0.25 everywhere on 16 pixels, 4 of them target: (4 * 0.25 + 1) / (4 + 4 - 1 + 1)."""
    target = torch.zeros(1, 1, 4, 4)
    target[..., :1, :] = 1
    assert soft_iou_loss(torch.full((1, 1, 4, 4), logit(0.25)), target).item() == pytest.approx(1 - 2 / 8)


def test_soft_iou_of_perfect_and_opposite_predictions() -> None:
    target = (torch.arange(64).view(1, 1, 8, 8) % 7 == 0).float()
    assert soft_iou_loss(target * 60 - 30, target).item() == pytest.approx(0, abs=1e-6)
    count = int(target.sum())
    assert soft_iou_loss(30 - target * 60, target).item() == pytest.approx(1 - 1 / 65, abs=1e-6)
    assert 0 < count < 64


def test_soft_iou_of_an_empty_target_falls_with_the_predicted_mass() -> None:
    empty = torch.zeros(1, 1, 16, 16)
    losses = [soft_iou_loss(torch.full_like(empty, z), empty).item() for z in (-30.0, -8.0, -2.0, 4.0)]
    assert losses[0] == pytest.approx(0, abs=1e-6)
    assert losses == sorted(losses)
    assert losses[-1] < 1
    z = torch.full_like(empty, -2.0, requires_grad=True)
    soft_iou_loss(z, empty).backward()
    assert z.grad is not None
    assert (z.grad > 0).all(), "every pixel of an empty frame is pushed down"


def test_soft_iou_weighs_images_not_pixels() -> None:
    """A one-pixel target beside an 80-pixel target in the batch costs as much when it is missed."""
    masks = torch.zeros(2, 1, 32, 32)
    masks[0, 0, 5, 5] = 1
    masks[1, 0, 10:20, 10:18] = 1
    found = masks * 60 - 30
    miss_small, miss_large = found.clone(), found.clone()
    miss_small[0], miss_large[1] = -30, -30
    assert soft_iou_loss(miss_small, masks).item() == pytest.approx((1 - 1 / 2) / 2, abs=1e-5)
    assert soft_iou_loss(miss_large, masks).item() == pytest.approx((1 - 1 / 81) / 2, abs=1e-5)


def fixture_6x6() -> tuple[torch.Tensor, torch.Tensor]:
    """A 2x2 target at rows and columns 2-3; logits 0, +2 on the target, +1 at (0, 0)."""
    target, logits = torch.zeros(1, 1, 6, 6), torch.zeros(1, 1, 6, 6)
    target[..., 2:4, 2:4] = 1
    logits[..., 2:4, 2:4] = 2
    logits[..., 0, 0] = 1
    return logits, target


def test_hard_bce_fixture() -> None:
    """32 pixels are kept (31 ties at log 2 and the wrong one); a reference that weighs all pixels by 4 gives 2.8501."""
    logits, target = fixture_6x6()
    loss = hard_bce_loss(logits, target, keep=0.5).item()
    assert loss == pytest.approx((31 * math.log(2) + math.log(1 + math.e)) / 32, rel=1e-6)
    assert 4 * loss == pytest.approx(2.8501, abs=5e-5)


def test_hard_bce_keeps_the_hardest_share() -> None:
    logits = torch.arange(8.0).view(1, 1, 2, 4)
    losses = F.softplus(logits).flatten()
    for keep, kept in ((1.0, 8), (0.5, 4), (0.25, 2), (0.126, 2), (0.125, 1), (1e-6, 1)):
        found = hard_bce_loss(logits, torch.zeros_like(logits), keep=keep).item()
        assert found == pytest.approx(losses[8 - kept :].mean().item(), rel=1e-6), keep


def test_hard_bce_sends_no_gradient_to_easy_pixels() -> None:
    logits = torch.tensor([[[[-9.0, -8.0, 3.0, 4.0]]]], requires_grad=True)
    hard_bce_loss(logits, torch.zeros(1, 1, 1, 4), keep=0.5).backward()
    assert logits.grad is not None
    assert (logits.grad.flatten() > 0).tolist() == [False, False, True, True]


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.01])
def test_hard_bce_refuses_other_shares(keep: float) -> None:
    with pytest.raises(ValueError, match=r"keep must be in \(0, 1\]"):
        hard_bce_loss(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), keep=keep)


@pytest.mark.parametrize("fill", [0.0, 1.0])
@pytest.mark.parametrize("value", [-1e4, -100.0, 0.0, 100.0, 1e4])
def test_losses_stay_finite(fill: float, value: float) -> None:
    target = torch.full((2, 1, 8, 8), fill)
    logits = torch.full((2, 1, 8, 8), value, requires_grad=True)
    loss = soft_iou_loss(logits, target) + hard_bce_loss(logits, target)
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_half_precision_logits_are_summed_in_float32() -> None:
    """65,536 pixels of probability 1e-3 sum to 65.5; bfloat16 would stop adding long before."""
    logits = torch.full((1, 1, 256, 256), -7.0, dtype=torch.bfloat16)
    target = torch.zeros(1, 1, 256, 256)
    mass = 65536 * torch.sigmoid(torch.tensor(-7.0)).item()
    assert soft_iou_loss(logits, target).item() == pytest.approx(1 - 1 / (mass + 1), rel=1e-4)


def test_mean_over_outputs_pools_masks_so_that_one_pixel_survives() -> None:
    masks = torch.zeros(1, 1, 16, 16)
    masks[0, 0, 5, 9] = 1
    seen: list[torch.Tensor] = []

    def record(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        seen.append(target)
        return logits.mean()

    outputs = {"final": torch.full((1, 1, 16, 16), 1.0), "side": torch.full((1, 1, 4, 4), 3.0)}
    assert mean_over_outputs(outputs, masks, record).item() == 2.0
    assert [int(t.sum()) for t in seen] == [1, 1]
    assert seen[1][0, 0, 1, 2] == 1


def test_task_returns_its_parts() -> None:
    torch.manual_seed(0)
    config = SupervisedConfig(model="pit-n", crops=((1.0, 32),), bce_weight=2.0)
    task = SupervisedTask(create_model("pit-n"), config)
    masks = torch.zeros(2, 1, 32, 32)
    masks[:, :, 4, 4] = 1
    parts = task(torch.randn(2, 1, 32, 32), masks)
    assert parts["loss"].requires_grad
    assert not parts["soft_iou"].requires_grad
    assert parts["loss"].item() == pytest.approx((parts["soft_iou"] + 2 * parts["hard_bce"]).item(), rel=1e-6)


def test_task_refuses_crops_that_do_not_fit_the_network() -> None:
    with pytest.raises(ValueError, match=r"pit-s needs crops that are multiples of 16 pixels, got \[100\]"):
        SupervisedTask(create_model("pit-s"), SupervisedConfig(crops=((0.5, 128), (1.0, 100))))
