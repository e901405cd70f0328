# SPDX-License-Identifier: Apache-2.0
"""A teacher with SCAM and the plain network as the student: one set of weights, two sets of statistics."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pitviper.core.models import create_model
from pitviper.core.vfm import CachedVFM, FrozenVFM, TinyRandomViT
from pitviper.train.bilevel import alignments, gradients
from pitviper.train.losses import distillation_loss
from pitviper.train.point_config import SemanticPriorsConfig
from pitviper.train.recipes.points import per_image_loss
from pitviper.train.recipes.semantic_priors import SemanticPriorsTask


def make_task(model: str = "pit-n", **changes: Any) -> SemanticPriorsTask:
    torch.manual_seed(0)
    config = SemanticPriorsConfig(model=model, vfm="tiny-random", crops=((1.0, 64),), **changes)
    return SemanticPriorsTask(create_model(model), FrozenVFM(TinyRandomViT(), levels=(1, 2)), config)


def draw_batch(count: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noise with planted targets of 1, 2, 9 and 80 pixels in each crop."""
    images = torch.randn(count, 1, 64, 64, generator=torch.Generator().manual_seed(seed))
    masks = torch.zeros(count, 1, 64, 64)
    for y, x, height, width in ((5, 7, 1, 1), (20, 9, 1, 2), (30, 40, 3, 3), (45, 12, 8, 10)):
        masks[:, :, y : y + height, x : x + width] = 1.0
    return images + 4.0 * masks, masks


@pytest.mark.parametrize("model", ["pit-n", "acm"])
@pytest.mark.parametrize("application", ["post", "sequential"])
def test_the_teacher_starts_as_the_student_and_leaves_it(model: str, application: str) -> None:
    task = make_task(model, application=application).eval()
    images, _ = draw_batch()
    teacher, student = task.main_branch(), task.network
    with torch.no_grad():
        assert torch.equal(teacher(images), student(images))
    task.train()
    optimizer = torch.optim.AdamW(task.parameters(), lr=1e-2)
    for seed in range(3):
        task(*draw_batch(seed=seed))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    task.eval()
    with torch.no_grad():
        assert not torch.allclose(teacher(images), student(images), atol=1e-4)
        twin = create_model(model)
        twin.load_state_dict(task.network.state_dict())
        assert torch.equal(twin.eval()(images), student(images)), "the plain network is the student"


@pytest.mark.parametrize("application", ["post", "sequential"])
def test_without_strength_the_foundation_model_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, application: str
) -> None:
    """And all that learns gets a gradient, which several processes need."""
    task = make_task(strength=0.0, application=application)
    monkeypatch.setattr(FrozenVFM, "forward", lambda *_: pytest.fail("it was asked"))
    losses = task(*draw_batch())
    losses["loss"].backward()
    idle = [name for name, p in task.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []
    assert losses["teacher"] == pytest.approx(float(losses["student"]), rel=1e-5)
    assert losses["gate"] == 0


def test_the_loss_is_what_the_specification_says() -> None:
    task = make_task(zero_start=0, distillation_scale=1.0, strength=0.5)
    images, masks = draw_batch()
    weights = torch.tensor([0.5, 1.0, 1.5])
    # Statistics move with every pass, but in training mode no output depends on them.
    found = task(images, masks, weights)
    teacher, student = task._decode_both(images)
    of_teacher, of_student = (per_image_loss(z, masks, task.config) for z in (teacher, student))
    assert of_teacher.shape == (3,)
    kd = torch.stack(
        [distillation_loss(s, t) for s, t in zip(student["final"], teacher["final"], strict=True)]
    )
    expected = (weights * (of_teacher + 0.1 * kd + of_student)).mean() + 0.005
    torch.testing.assert_close(found["loss"], expected)
    assert float(found["gate"]) == pytest.approx(0.005)
    plain = make_task(zero_start=0, student_weight=0.0, strength=0.5)
    plain.load_state_dict(task.state_dict())
    assert plain(images, masks)["loss"] < task(images, masks)["loss"]


def test_the_scale_of_the_distillation_of_the_specification() -> None:
    """z_s = 0 and z_t = 4 everywhere: 0.0533881 without the factor T^2."""
    task = make_task(distillation_scale=1.0)
    zeros = torch.zeros(1, 1, 8, 8)
    found = task._distillation(zeros, zeros + 4.0, zeros)
    torch.testing.assert_close(found, torch.tensor([0.0533881]), atol=1e-6, rtol=0)
    around = make_task(distillation_scale=1.0, distillation_region="targets")
    teacher = zeros - 4.0
    teacher[..., 2, 2] = 4.0
    found = around._distillation(zeros, teacher, zeros)
    torch.testing.assert_close(found, torch.tensor([0.0533881]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("statistics", ["separate", "shared"])
def test_statistics_of_the_branches(statistics: str) -> None:
    """With separate ones the student's come from its own pass alone."""
    task = make_task(zero_start=0, strength=0.5, statistics=statistics)
    images, masks = draw_batch()
    alone = copy.deepcopy(task.network)
    alone.train()
    alone.decode(alone.encode(images))
    task(images, masks)
    same = all(
        torch.equal(value, alone.state_dict()[key])
        for key, value in task.network.state_dict().items()
        if "running" in key
    )
    assert same == (statistics == "separate")


def test_samples_of_the_inner_losses_do_not_see_each_other() -> None:
    task = make_task(zero_start=0, strength=0.5)
    images, masks = draw_batch()
    state = {key: value.clone() for key, value in task.state_dict().items()}
    whole = task.inner_losses(images, masks)
    one = torch.cat([task.inner_losses(i[None], m[None]) for i, m in zip(images, masks, strict=True)])
    torch.testing.assert_close(whole, one, rtol=1e-5, atol=1e-6)
    task.outer_loss(images, masks)
    assert task.training
    assert all(torch.equal(value, state[key]) for key, value in task.state_dict().items()), (
        "no statistics moved"
    )


def test_alignments_through_a_real_network() -> None:
    """Differences against the gradients of the samples themselves, in float32."""
    task = make_task(zero_start=0, strength=0.5)
    images, masks = draw_batch(2)
    weights = [p for p in task.parameters() if p.requires_grad]
    outer = gradients(task.outer_loss(images, masks), weights)
    exact = torch.zeros(2)
    for sample in range(2):
        own = gradients(task.inner_losses(images, masks)[sample], weights)
        exact[sample] = sum((a * b).sum() for a, b in zip(own, outer, strict=True))
    found = alignments(lambda: task.inner_losses(images, masks), weights, outer)
    # ReLUs switch within the step of the difference, so that it is a little off everywhere.
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0.02 * float(exact.abs().max()))


def test_the_upper_level_trains_the_student_alone() -> None:
    task = make_task(zero_start=0)
    loss = task.outer_loss(*draw_batch())
    (gate,) = gradients(loss, [task.scam.gate])
    assert not gate.any()


def test_features_of_whole_frames_come_from_the_cache(tmp_path: Path) -> None:
    plain = make_task(zero_start=0).eval()
    cached = CachedVFM(plain.vfm, tmp_path)
    task = SemanticPriorsTask(plain.network, plain.vfm, plain.config, frame_vfm=cached).eval()
    task.load_state_dict(plain.state_dict())
    frame = draw_batch(1)[0]
    with torch.no_grad():
        expected = plain.main_branch()(frame)
        assert torch.equal(task.main_branch()(frame), expected)
        assert (cached.hits, cached.misses) == (0, 0), "crops of the training never come again"
        for hits in (0, 1):
            with task.whole_frames():
                assert torch.equal(task.main_branch()(frame), expected)
            assert (cached.hits, cached.misses) == (hits, 1)


def test_no_foundation_model_in_the_state() -> None:
    task = make_task()
    assert not any("vfm" in key or "blocks.0.self_attn" in key for key in task.state_dict())
    again = copy.deepcopy(task)
    assert again.vfm is task.vfm


def test_refusals() -> None:
    with pytest.raises(ValueError, match="bilevel must be one of gn, unrolled, none, got 'exact'"):
        make_task(bilevel="exact")
    with pytest.raises(ValueError, match="application must be one of post, sequential"):
        make_task(application="before")
    with pytest.raises(ValueError, match="upper_share"):
        make_task(upper_share=1.0)
    with pytest.raises(ValueError, match="upper_until"):
        make_task(upper_until=0.0)
    with pytest.raises(ValueError, match="takes no --synthetic frames"):
        make_task(synthetic=3)
    with pytest.raises(ValueError, match="at least 0"):
        make_task(outer_lr=-1.0)
    with pytest.raises(ValueError, match="multiples of"):
        SemanticPriorsTask(
            create_model("pit-s"),
            FrozenVFM(TinyRandomViT()),
            SemanticPriorsConfig(model="pit-s", crops=((1.0, 60),)),
        )
