# SPDX-License-Identifier: Apache-2.0
"""The self-supervised loss: what the transformer is shown, what it is asked, and that it can learn both."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from pitviper.core.vfm import FrozenVFM
from pitviper.core.vfm.adapter import IMAGENET_MEAN, IMAGENET_STD
from pitviper.core.vfm.hub import TimmBackbone
from pitviper.train.config import PriorConfig
from pitviper.train.recipes.prior import PriorTask, plant_points

_SMALL = {"patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3, "num_classes": 0}


def transformer(kind: str = "learned") -> Any:
    """A narrow one of timm: with learned or rotary positions, or with parts that pool its tokens."""
    torch.manual_seed(0)
    names = {
        "learned": "vit_small_patch16_224",
        "rotary": "vit_small_patch16_dinov3",
        "pooling": "vit_base_patch16_siglip_224",
        "norm behind the pool": "eva02_tiny_patch14_224",
    }
    return timm.create_model(names[kind], img_size=64, dynamic_img_size=True, **_SMALL)


def make_task(kind: str = "learned", **changes: Any) -> PriorTask:
    network = transformer(kind)
    config = PriorConfig(**({"crops": ((1.0, 64),)} | changes))
    return PriorTask(network, config, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def crops(count: int = 4, seed: int = 0) -> Tensor:
    """Standardised frames with waves that reach over patches, so that some of what is hidden can be foretold."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 1, 64, 64, generator=generator)
    phase = 6.3 * torch.rand(count, 1, 1, 1, generator=generator)
    return 4.0 * torch.sin(torch.arange(64) / 5.0 + phase) + 0.3 * noise


def test_the_transformer_sees_what_it_will_see_in_fdep() -> None:
    """The input of the first layer is the one that ``FrozenVFM`` makes of the same crop, to the bit."""
    task = make_task(points=0)
    seen: list[Tensor] = []
    task.network.patch_embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = crops()
    task(images, images)
    FrozenVFM(TimmBackbone(task.network))(images)
    assert seen[0].shape == (4, 3, 64, 64)
    assert torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("kind", ["learned", "rotary"])
def test_patches_keep_their_places(kind: str) -> None:
    """All patches in another order give the same tokens in that order: positions travel with their patches."""
    task = make_task(kind).eval()
    images = crops().expand(-1, 3, -1, -1)
    prefix, order = task.prefix, torch.randperm(64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        plain = task.network.forward_features(images)
        task.visible.indices = order.expand(4, -1)
        shuffled = task.network.forward_features(images)
    assert (shuffled[:, :prefix] - plain[:, :prefix]).abs().max() < 1e-4
    # Sums over tokens run in another order: a few roundings of numbers of about 1.
    assert (shuffled[:, prefix:] - plain[:, prefix:][:, order]).abs().max() < 1e-4
    assert (plain[:, prefix:] - plain[:, prefix:][:, order]).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["learned", "rotary"])
def test_hidden_patches_are_hidden(kind: str) -> None:
    task = make_task(kind).eval()
    images = crops().expand(-1, 3, -1, -1)
    hidden = images.clone()
    hidden[:, :, :8, 8:16] += 5.0
    seen = torch.tensor([i for i in range(64) if i != 1]).expand(4, -1)
    with torch.no_grad():
        task.visible.indices = seen
        assert torch.equal(task.network.forward_features(images), task.network.forward_features(hidden))
        task.visible.indices = None
        assert not torch.equal(task.network.forward_features(images), task.network.forward_features(hidden))


def test_share_of_hidden_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task(masked=0.75)
    counts: list[tuple[int, int]] = []
    real = task.decoder.forward

    def look(tokens: Tensor, seen: Tensor, hidden: Tensor) -> Tensor:
        counts.append((seen.shape[1], hidden.shape[1]))
        both = torch.cat((seen, hidden), dim=1).sort(dim=1).values
        assert torch.equal(both, torch.arange(64).expand(4, -1))
        assert not torch.equal(seen[0], seen[1])
        return real(tokens, seen, hidden)

    monkeypatch.setattr(task.decoder, "forward", look)
    task(crops(), crops())
    assert counts == [(16, 48)]


@pytest.mark.parametrize("kind", ["learned", "rotary", "pooling", "norm behind the pool"])
def test_gradients_reach_every_parameter(kind: str) -> None:
    task = make_task(kind)
    task(crops(), crops())["loss"].backward()
    trained = {name: p for name, p in task.named_parameters() if p.requires_grad}
    assert [name for name, p in trained.items() if p.grad is None or not p.grad.any()] == []
    frozen = {name.split(".")[1] for name, p in task.named_parameters() if not p.requires_grad}
    assert frozen == {"pooling": {"attn_pool"}, "norm behind the pool": {"fc_norm"}}.get(kind, set())


def test_masks_have_no_part() -> None:
    task = make_task()
    losses = []
    for masks in (torch.zeros(4, 1, 64, 64), torch.full((4, 1, 64, 64), torch.nan)):
        torch.manual_seed(5)
        losses.append(task(crops(), masks)["loss"])
    assert torch.equal(*losses)


def test_both_parts_are_learned() -> None:
    """From fresh draws, at last it is far better than predicting nothing: 1 is the variance of a patch with a wave."""
    task = make_task(masked=0.5, points=16)
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    history = []
    for step in range(60):
        torch.manual_seed(step)
        parts = task(crops(8, seed=step), torch.zeros(()))
        parts["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append({key: float(value.detach()) for key, value in parts.items()})
    start, end = history[0], history[-1]
    assert start["loss"] == pytest.approx(
        start["hidden"] + task.config.point_weight * start["planted"], rel=1e-6
    )
    assert end["hidden"] < 0.6 * start["hidden"]
    assert end["planted"] < 0.6 * start["planted"]


def test_planted_points() -> None:
    torch.manual_seed(0)
    light = plant_points(torch.zeros(3, 1, 64, 96), 5)
    assert light.shape == (3, 1, 64, 96)
    assert float(light.min()) >= 0.0
    # A peak between pixels is lower than the drawn one, at worst exp(-0.5 (0.5 / 0.5)^2) of it along either axis.
    assert 2.0 * torch.exp(torch.tensor(-1.0)) < float(light.flatten(1).amax(1).min()) <= 5 * 20.0
    assert not torch.equal(light[0], light[1])
    # Points of at most 2.5 pixels leave most of the frame dark.
    assert float((light > 0.5).float().mean()) < 0.3
    assert not plant_points(torch.zeros(2, 1, 16, 16), 0).any()
    torch.manual_seed(0)
    assert torch.equal(light, plant_points(torch.zeros(3, 1, 64, 96), 5))


def test_crops_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"multiples of the patch, 8 pixels, got 100"):
        make_task(crops=((1.0, 100),))
    with pytest.raises(ValueError, match=r"a crop of 8 pixels has 1 patches: none is left to hide or to see"):
        make_task(crops=((1.0, 8),))


def test_the_network_is_what_is_kept() -> None:
    task = make_task()
    assert set(task.network.state_dict()) == set(transformer().state_dict())
    assert {name for name, _ in task.named_children()} == {"network", "visible", "norm", "decoder", "points"}
    assert isinstance(task.network, nn.Module)
