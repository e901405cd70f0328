# SPDX-License-Identifier: Apache-2.0
"""Two branches, one encoder pass, one backward; what is kept is the plain network, bit for bit."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pitviper.core.models import complexity, create_model
from pitviper.core.vfm import FrozenVFM, TinyRandomViT
from pitviper.train.config import FDEPConfig
from pitviper.train.losses import distillation_loss
from pitviper.train.recipes.fdep import FDEPTask
from pitviper.train.recipes.statistics import examine
from pitviper.train.recipes.supervised import detection_loss
from pitviper.train.validate import predict_standardised

NETWORKS = ("pit-n", "acm", "mlcl", "dna-r10")
STATISTICS = ("separate", "shared", "joint")


def make_task(model: str = "pit-n", **changes: Any) -> FDEPTask:
    torch.manual_seed(0)
    config = FDEPConfig(model=model, vfm="tiny-random", crops=((1.0, 64),), **changes)
    return FDEPTask(create_model(model), FrozenVFM(TinyRandomViT(), levels=(1, 2)), config)


def draw_batch(count: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noise with planted targets of 1, 2, 9 and 80 pixels in each crop."""
    images = torch.randn(count, 1, 64, 64, generator=torch.Generator().manual_seed(seed))
    masks = torch.zeros(count, 1, 64, 64)
    for y, x, height, width in ((5, 7, 1, 1), (20, 9, 1, 2), (30, 40, 3, 3), (45, 12, 8, 10)):
        masks[:, :, y : y + height, x : x + width] = 1.0
    return images + 4.0 * masks, masks


def steps(task: FDEPTask, count: int, lr: float = 1e-2) -> None:
    optimizer = torch.optim.AdamW(task.parameters(), lr=lr)
    for seed in range(count):
        task(*draw_batch(seed=seed))["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()


def awaken(task: FDEPTask) -> None:
    """Move SAMF off the identity, and the two sets of statistics apart."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in task.samf.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
        for name, buffer in task.main_statistics.named_buffers():
            if not name.endswith("tracked"):
                buffer *= 1.0 + 0.2 * torch.rand(buffer.shape, generator=generator)


def fixed_norms(task: nn.Module) -> None:
    """Training mode, so that side outputs are there, with batch norms in evaluation mode and without dropout."""
    task.train()
    for module in task.modules():
        if isinstance(module, _BatchNorm | nn.Dropout):
            module.eval()


@pytest.mark.parametrize("model", NETWORKS)
def test_gradients_equal_those_of_two_full_passes(model: str) -> None:
    task = make_task(model, light_weight=0.7)
    awaken(task)
    fixed_norms(task.double())
    images, masks = (t.double() for t in draw_batch())
    task(images, masks)["loss"].backward()

    # Two independent networks, the main one with its statistics loaded, each with an encoder pass of its own.
    light, main = copy.deepcopy(task.network), copy.deepcopy(task.network)
    state = main.state_dict()
    for key, value in task.main_statistics.state_dict().items():
        state[key.removeprefix("sets.").replace("-", ".")].copy_(value)
    samf = copy.deepcopy(task.samf)
    for module in (light, main, samf):
        module.zero_grad()
    stages = main.encode(images)
    stages[-1] = samf(stages[-1], [level.double() for level in task.vfm(images)])
    weights = {"keep": task.config.keep, "bce_weight": task.config.bce_weight}
    detection_loss(main.decode(stages), masks, **weights)["loss"].backward()
    (0.7 * detection_loss(light.decode(light.encode(images)), masks, **weights)["loss"]).backward()
    pairs = zip(task.network.parameters(), main.parameters(), light.parameters(), strict=True)
    expected = [a.grad + b.grad for _, a, b in pairs if a.grad is not None and b.grad is not None]
    found = [p.grad for p in task.network.parameters() if p.grad is not None]
    assert len(found) == len(expected) == len(list(task.network.parameters()))
    expected += [p.grad for p in samf.parameters() if p.grad is not None]
    found += [p.grad for p in task.samf.parameters() if p.grad is not None]
    # Relative to the largest gradient of all, since a bias in front of a norm has a gradient of rounding alone.
    scale = max(float(g.abs().max()) for g in expected)
    assert max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True)) < 1e-6 * scale


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("model", NETWORKS)
def test_every_parameter_learns(model: str, statistics: str) -> None:
    task = make_task(model, statistics=statistics)
    awaken(task)
    parts = task.train()(*draw_batch())
    parts["loss"].backward()
    torch.testing.assert_close(parts["loss"].detach(), parts["main"] + parts["light"])
    still = [n for n, p in task.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert still == []
    assert all(p.grad is not None and bool(p.grad.abs().max() > 0) for p in task.samf.parameters())


@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("model", NETWORKS)
def test_kept_network_is_the_light_branch_and_the_plain_network(model: str, statistics: str) -> None:
    task = make_task(model, statistics=statistics)
    steps(task.train(), 2)
    plain = create_model(model)
    names = {name: tensor.shape for name, tensor in plain.state_dict().items()}
    assert {name: tensor.shape for name, tensor in task.network.state_dict().items()} == names
    plain.load_state_dict(task.network.state_dict())
    images, _ = draw_batch(seed=9)
    task.eval()
    with torch.inference_mode():
        light = task.network.decode(task.network.encode(images))["final"]
        assert torch.equal(plain.eval()(images), light)
        assert not torch.equal(task.main_branch()(images), light)
    if model == "pit-n":
        assert complexity(task.network) == complexity(create_model(model))


def test_starts_as_two_equal_branches() -> None:
    task = make_task().eval()
    images, _ = draw_batch()
    with torch.inference_mode():
        assert torch.equal(task.main_branch()(images), task.network(images))


def test_samf_leaves_the_identity() -> None:
    task = make_task()
    steps(task.train(), 4)
    images, _ = draw_batch()
    with torch.inference_mode():
        stages = task.eval().network.encode(images)
        fused = task.fuse(stages, images)
    assert all(torch.equal(a, b) for a, b in zip(fused[:-1], stages[:-1], strict=True))
    assert float((fused[-1] - stages[-1]).abs().max()) > 1e-3 * float(stages[-1].abs().max())


def test_statistics_of_the_branches_are_those_of_their_own_passes() -> None:
    task = make_task()
    awaken(task)
    task.main_statistics = type(task.main_statistics)(task.network, examine(task.network).decoder_norms)
    light, main = copy.deepcopy(task).train(), copy.deepcopy(task).train()
    task.train()
    for seed in range(3):
        images, masks = draw_batch(seed=seed)
        task(images, masks)
        light.network.decode(light.network.encode(images))
        main.network.decode(main.fuse(main.network.encode(images), images))
    for name, buffer in task.network.named_buffers():
        assert torch.equal(buffer, light.network.get_buffer(name)), name
    differ = []
    for key, own in task.main_statistics.sets.items():
        for name, buffer in own.named_buffers():
            full = f"{key.replace('-', '.')}.{name}"
            assert torch.equal(buffer, main.network.get_buffer(full)), full
            differ.append(not torch.equal(buffer, task.network.get_buffer(full)))
    assert sum(differ) >= 2 * len(task.main_statistics.sets) - 2


@pytest.mark.parametrize(("statistics", "updates"), [("separate", 1), ("shared", 2), ("joint", 1)])
def test_updates_in_one_step(statistics: str, updates: int) -> None:
    task = make_task(statistics=statistics).train()
    task(*draw_batch())
    norms = set(examine(task.network).decoder_norms)
    for name, buffer in task.network.named_buffers():
        if name.endswith(".num_batches_tracked"):
            decoder = name.removesuffix(".num_batches_tracked") in norms
            assert buffer == (updates if decoder else 1), name
    assert bool(len(task.main_statistics.state_dict())) == (statistics == "separate")


def test_foundation_model_takes_no_part() -> None:
    task = make_task()
    before = [p.clone() for p in task.vfm.backbone.parameters()]
    steps(task.train(), 1)
    assert all(p.grad is None and not p.requires_grad for p in task.vfm.backbone.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, task.vfm.backbone.parameters(), strict=True))
    assert not task.vfm.backbone.training
    assert {key.split(".")[0] for key in task.state_dict()} == {"network", "samf", "main_statistics"}
    own = {id(p) for p in task.vfm.backbone.parameters()}
    assert not own & {id(p) for p in task.parameters()}
    assert copy.deepcopy(task).vfm is task.vfm, "an average does not hold it twice"
    task.double()
    assert next(task.vfm.backbone.parameters()).dtype == torch.float64, "it moves with the task"


def test_distillation() -> None:
    task = make_task()
    awaken(task)
    heavy = copy.deepcopy(task)
    heavy.config = replace(task.config, distillation=16.0)
    fixed_norms(task)
    fixed_norms(heavy)
    batch = draw_batch()
    without, with_it = task(*batch), heavy(*batch)
    assert "distillation" not in without
    assert torch.equal(without["loss"], without["main"] + without["light"])
    assert with_it["distillation"] > 0
    torch.testing.assert_close(with_it["loss"], without["loss"] + 16.0 * with_it["distillation"])
    without["loss"].backward()
    with_it["loss"].backward()
    samf = zip(task.samf.parameters(), heavy.samf.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in samf), "the main branch does not learn from it"
    head = (
        task.network.get_submodule("head").conv.weight.grad,
        heavy.network.get_submodule("head").conv.weight.grad,
    )
    assert not torch.equal(*head)


def test_distillation_loss_fixture() -> None:
    """The worked value of the method's description: logits 0 against 4 at temperature 4."""
    value = distillation_loss(torch.zeros(2, 1, 4, 4), torch.full((2, 1, 4, 4), 4.0))
    assert float(value) == pytest.approx(0.0533881, abs=1e-7)


def test_main_branch_is_evaluated_like_a_network_and_never_deployed() -> None:
    task = make_task()
    awaken(task)
    main = task.main_branch().eval()
    frame = draw_batch()[0][0, 0, :50, :61].numpy()
    assert predict_standardised(main, frame).shape == (50, 61)
    assert not np.array_equal(predict_standardised(main, frame), predict_standardised(task.network, frame))
    with pytest.raises(TypeError, match=r"needs its foundation model and is not deployed"):
        main.deploy()


def test_crops_must_fit_the_network() -> None:
    config = FDEPConfig(model="acm", crops=((1.0, 72),))
    with pytest.raises(ValueError, match=r"acm needs crops that are multiples of 16 pixels, got \[72\]"):
        FDEPTask(create_model("acm"), FrozenVFM(TinyRandomViT()), config)
