# SPDX-License-Identifier: Apache-2.0
"""SCAM: the specified size and numbers, a start at nothing that still learns, and a place in every network."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from pitviper.core.models import DetectorNetwork, create_model, list_models
from pitviper.core.modules.scam import SCAM, default_strength, stage_modules

# Networks of 3, 4 and 5 stages, of a packed and of a nested form.
NETWORKS = ("pit-n", "pit-m", "acm", "mlcl", "alcl", "dna-r10")


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def awake(network: DetectorNetwork, **settings: float) -> SCAM:
    torch.manual_seed(3)
    return SCAM(network.stage_channels, 8, levels=2, zero_start=False, **settings)


def levels(count: int = 2, batch: int = 2) -> list[Tensor]:
    return [draw(batch, 8, 3, 4, seed=k) for k in range(count)]


@pytest.mark.parametrize(
    ("channels", "parameters"), [((16, 32, 64, 128, 256), 178_142), ((16, 32, 64), 78_686)]
)
def test_counts_of_the_paper(channels: tuple[int, ...], parameters: int) -> None:
    """ALCL-Net's and MLCL-Net's modulators at D = 384 and 13 hidden states."""
    with torch.device("meta"):
        scam = SCAM(channels, 384, levels=13)
    assert sum(p.numel() for p in scam.parameters()) == parameters


def test_the_numbers_of_the_specification() -> None:
    scam = SCAM((2,), 4, levels=1, strength=0.12, hidden=3)
    with torch.no_grad():
        scam.mlp[2].bias.copy_(torch.tensor([0.3, -1.0, 0.2, -0.4]))
        scam.gate.copy_(torch.tensor([1.0, 0.5]))
    modulation = scam([draw(1, 4, 2, 2)])
    torch.testing.assert_close(modulation[0][0], torch.tensor([[1.2913, 0.5379]]), atol=5e-5, rtol=0)
    (out,) = scam.modulate([torch.tensor([2.0, 3.0]).view(1, 2, 1, 1)], modulation)
    torch.testing.assert_close(out.flatten(), torch.tensor([2.0939, 2.7856]), atol=5e-5, rtol=0)
    assert scam.regulariser().item() == 0.75


def test_gamma_and_beta_lie_stage_by_stage() -> None:
    scam = SCAM((2, 3), 4, levels=1, hidden=3)
    with torch.no_grad():
        scam.mlp[2].bias.copy_(torch.arange(10.0) / 10)
        scam.gate.copy_(torch.arange(1.0, 6.0))
    (gamma1, beta1), (gamma2, beta2) = scam([draw(1, 4, 2, 2)])
    expected = 1 + torch.tanh(torch.tensor([0.0, 0.1]) * torch.tensor([1.0, 2.0]))
    torch.testing.assert_close(gamma1[0], expected)
    torch.testing.assert_close(
        gamma2[0], 1 + torch.tanh(torch.tensor([0.4, 0.5, 0.6]) * torch.arange(3.0, 6))
    )
    torch.testing.assert_close(beta1[0], torch.tensor([0.2, 0.3]))
    torch.testing.assert_close(beta2[0], torch.tensor([0.7, 0.8, 0.9]))


def test_pooling() -> None:
    """Equal weights at the start; attention that picks one token gives that token's vector."""
    maps = levels()
    scam = SCAM((2,), 8, levels=2, norm=False)
    nn.init.zeros_(scam.attention.weight)
    torch.testing.assert_close(scam.pool(maps), (maps[0] + maps[1]).mean(dim=(2, 3)) / 2)
    with torch.no_grad():
        scam.layer_logits.copy_(torch.tensor([100.0, 0.0]))
        scam.attention.weight[0, 0] = 1000.0
    picked = maps[0].flatten(2)
    best = picked[:, 0].argmax(dim=1)
    torch.testing.assert_close(scam.pool(maps), picked[torch.arange(2), :, best])


def test_long_tokens_do_not_outweigh_the_others() -> None:
    scam = SCAM((2,), 8, levels=2)
    first, second = levels()
    torch.testing.assert_close(
        scam.pool([first, second * 1000]), scam.pool([first, second]), rtol=1e-3, atol=1e-4
    )
    bare = SCAM((2,), 8, levels=2, norm=False)
    assert not torch.allclose(bare.pool([first, second * 1000]), bare.pool([first, second]), rtol=0.1)


@pytest.mark.parametrize("name", NETWORKS)
def test_starts_as_the_student_and_learns(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name).eval()
    stages = network.encode(draw(2, 1, 64, 64))
    scam = SCAM(network.stage_channels, 8, levels=2)
    modulated = scam.modulate(stages, scam(levels()))
    for before, after in zip(stages, modulated, strict=True):
        assert torch.equal(before, after)
    network.decode(modulated)["final"].square().mean().backward()
    last = scam.mlp[2]
    assert isinstance(last, nn.Linear)
    rows, start = last.weight.grad, 0
    assert rows is not None
    for channels in network.stage_channels:
        for part in (rows[start : start + channels], rows[start + channels : start + 2 * channels]):
            assert bool(part.any()), "gamma and beta of every stage get a gradient at the start"
        start += 2 * channels
    with torch.no_grad():
        last.weight -= last.weight.grad
    scam.zero_grad()
    network.decode(scam.modulate(network.encode(draw(2, 1, 64, 64)), scam(levels())))[
        "final"
    ].sum().backward()
    for name_, parameter in scam.named_parameters():
        # A softmax over one token set is blind to the attention's bias: its gradient is 0 by construction.
        if name_ != "attention.bias":
            assert parameter.grad is not None, name_
            assert bool(parameter.grad.any()), name_


def test_gradients_against_differences() -> None:
    torch.manual_seed(0)
    scam = SCAM((2, 3), 4, levels=2, zero_start=False, hidden=5, strength=0.5).double()
    features = [draw(2, 2, 3, 3).double(), draw(2, 3, 2, 2).double()]
    maps = [draw(2, 4, 2, 2, seed=k).double().requires_grad_() for k in range(2)]

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(scam.modulate(features, scam(inputs[:2])))

    assert torch.autograd.gradcheck(run, (*maps, *scam.parameters()))


@pytest.mark.parametrize("name", NETWORKS)
def test_sequential_reaches_the_next_stage(name: str) -> None:
    """In ``post`` each stage is modulated alone; in ``sequential`` the deeper ones have seen it."""
    torch.manual_seed(0)
    network = create_model(name).eval()
    scam, images = awake(network, strength=0.5), draw(2, 1, 64, 64)
    names, modulation = stage_modules(network), scam(levels())
    with torch.no_grad():
        plain = network.encode(images)
        post = scam.modulate(plain, modulation)
        with scam.in_encoder(network, names, modulation):
            sequential = network.encode(images)
        again = network.encode(images)
    assert torch.equal(post[0], sequential[0])
    for index in range(1, len(plain)):
        assert not torch.allclose(post[index], sequential[index])
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True)), "no trace is left behind"
    neutral = [(torch.ones_like(g), torch.zeros_like(b)) for g, b in modulation]
    with torch.no_grad(), scam.in_encoder(network, names, neutral):
        assert all(torch.equal(a, b) for a, b in zip(plain, network.encode(images), strict=True))


@pytest.mark.parametrize("name", list_models())
def test_every_network_has_a_place_for_it(name: str) -> None:
    network = create_model(name)
    before = copy.deepcopy(network.state_dict())
    assert len(set(stage_modules(network))) == len(network.stage_channels)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not any(m._forward_hooks for m in network.modules())
    assert SCAM(network.stage_channels, 8, levels=1).strength == default_strength(len(network.stage_channels))


def test_strength_of_nothing_is_skipped() -> None:
    network = create_model("pit-n").eval()
    scam = awake(network, strength=0.0)
    stages = network.encode(draw(2, 1, 64, 64))
    assert all(a is b for a, b in zip(stages, scam.modulate(stages, scam(levels())), strict=True))


def test_refusals() -> None:
    scam = SCAM((4,), 8, levels=2)
    with pytest.raises(ValueError, match=r"takes 2 maps \[B, 8, h, w\], got \[\[2, 8, 3, 4\]\]"):
        scam(levels(1))
    with pytest.raises(ValueError, match="takes 2 maps"):
        scam([draw(1, 6, 2, 2), draw(1, 6, 2, 2)])
    with pytest.raises(ValueError, match="needs stages and levels"):
        SCAM((), 8, levels=2)
    with pytest.raises(ValueError, match="at least 0, got -1"):
        SCAM((4,), 8, levels=2, strength=-1.0)

    class Bare(type(create_model("pit-n"))):
        def encode(self, x: Tensor) -> list[Tensor]:
            return [stage + 0 for stage in super().encode(x)]

    with pytest.raises(ValueError, match=r'made outside of any module.*"post"'):
        stage_modules(Bare(create_model("pit-n").config))
