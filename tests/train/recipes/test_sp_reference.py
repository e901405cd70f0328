# SPDX-License-Identifier: Apache-2.0
"""The task of the published code: what it does to the statistics, and what trains which branch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pitviper.core.models import create_model
from pitviper.core.vfm import FrozenVFM, TinyRandomViT
from pitviper.train.bilevel import gradients
from pitviper.train.losses import distillation_loss
from pitviper.train.point_config import SPReferenceConfig
from pitviper.train.recipes.points import per_image_loss
from pitviper.train.recipes.sp_reference import SPReferenceTask


def make_task(**changes: Any) -> SPReferenceTask:
    torch.manual_seed(0)
    config = SPReferenceConfig(model="pit-n", vfm="tiny-random", crops=((1.0, 64),), **changes)
    return SPReferenceTask(create_model("pit-n"), FrozenVFM(TinyRandomViT(), levels=(1, 2)), config)


def draw_batch() -> tuple[Tensor, Tensor]:
    images = torch.randn(3, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(3, 1, 64, 64)
    masks[:, :, 30:33, 40:43] = 1.0
    return images + 4.0 * masks, masks


def counters(task: SPReferenceTask) -> set[int]:
    return {int(v) for k, v in task.network.state_dict().items() if k.endswith("num_batches_tracked")}


def test_the_loss_is_the_published_one() -> None:
    task = make_task()
    images, masks = draw_batch()
    weights = torch.tensor([0.5, 1.0, 1.5])
    found = task(images, masks, weights)
    teacher, student = task._decode_both(images)
    kd = torch.stack(
        [distillation_loss(s, t) for s, t in zip(student["final"], teacher["final"], strict=True)]
    )
    expected = (weights * (per_image_loss(teacher, masks, task.config) + 0.1 * kd)).mean() + 0.005
    torch.testing.assert_close(found["loss"], expected)
    outer = task.outer_losses(images, masks)
    torch.testing.assert_close(outer, per_image_loss(student, masks, task.config) + kd)


def test_every_pass_of_either_level_moves_the_one_set_of_statistics() -> None:
    task = make_task()
    assert counters(task) == {0}
    task(*draw_batch())
    assert counters(task) == {2}
    task.outer_losses(*draw_batch())
    assert counters(task) == {4}
    task.eval()
    task(*draw_batch())
    assert counters(task) == {4}
    assert not any("teacher_statistics" in key for key in task.state_dict())


def test_teacher_and_student_differ_from_the_start() -> None:
    task = make_task().eval()
    images, _ = draw_batch()
    with torch.no_grad():
        assert not torch.allclose(task.main_branch()(images), task.network(images), atol=1e-4)
    assert not task.scam.norm


def test_upper_steps_do_not_reach_the_modulator() -> None:
    task = make_task()
    (gate, *network) = gradients(
        task.outer_losses(*draw_batch()).mean(), [task.scam.gate, *task.network.parameters()]
    )
    assert not gate.any()
    assert any(bool(g.any()) for g in network)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="bilevel must be one of reference, none, got 'unrolled'"):
        make_task(bilevel="unrolled")
    for changes in ({"statistics": "separate"}, {"distillation_region": "targets"}, {"outer_lr": 0.0}):
        with pytest.raises(ValueError, match="take semantic_priors for others"):
            make_task(**changes)
    with pytest.raises(ValueError, match="largest_threshold is a share from 0"):
        make_task(largest_threshold=1.5)
