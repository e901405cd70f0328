# SPDX-License-Identifier: Apache-2.0
"""SAMF: starts as the identity, learns all the same, has the specified size and takes any map."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pitviper.core.models import create_model
from pitviper.core.modules.samf import SAMF, SAMFChain


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("channels", "dim", "one", "four"),
    [
        (64, 384, 80_128, 320_512),
        (256, 384, 984_064, 3_936_256),
        (512, 384, 3_737_600, 14_950_400),
        (64, 768, 104_704, 418_816),
        (256, 768, 1_082_368, 4_329_472),
        (512, 768, 3_934_208, 15_736_832),
    ],
)
def test_counts(channels: int, dim: int, one: int, four: int) -> None:
    with torch.device("meta"):
        assert count(SAMF(channels, dim)) == one
        assert count(SAMFChain(channels, dim)) == four
        assert count(SAMF(channels, dim, style="plain")) == one + channels


@pytest.mark.parametrize("length", [1, 4])
@pytest.mark.parametrize("shape", [(16, 16), (5, 7), (1, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_starts_as_the_identity(length: int, shape: tuple[int, int], training: bool) -> None:
    torch.manual_seed(0)
    features = F.relu(draw(2, 8, *shape))
    levels = [draw(2, 6, 3, 4, seed=k) * 10 for k in range(length)]
    chain = SAMFChain(8, 6, length=length).train(training)
    assert torch.equal(chain(features, levels), features)


def test_negative_features_need_no_activation() -> None:
    features, level = draw(2, 8, 6, 6), draw(2, 6, 3, 3)
    assert torch.equal(SAMF(8, 6, activation=False)(features, level), features)
    assert torch.equal(SAMF(8, 6)(features, level), F.relu(features))


def test_plain_does_not_start_as_the_identity() -> None:
    torch.manual_seed(0)
    features = F.relu(draw(2, 8, 6, 6))
    assert not torch.allclose(SAMF(8, 6, style="plain")(features, draw(2, 6, 3, 3)), features, atol=0.1)


def gradients_after(chain: SAMFChain, steps: int) -> dict[str, float]:
    """Largest absolute gradient of each parameter after some steps towards an unrelated target."""
    optimizer = torch.optim.SGD(chain.parameters(), lr=0.1)
    for step in range(steps + 1):
        optimizer.zero_grad()
        levels = [draw(2, 6, 4, 4, seed=10 * step + k) for k in range(len(chain.links))]
        (
            chain(F.relu(draw(2, 8, 8, 8, seed=step)), levels) - draw(2, 8, 8, 8, seed=99)
        ).square().mean().backward()
        if step < steps:
            optimizer.step()
    return {k: 0.0 if p.grad is None else float(p.grad.abs().max()) for k, p in chain.named_parameters()}


@pytest.mark.parametrize("style", ["identity", "plain"])
def test_gradients_reach_every_parameter(style: str) -> None:
    torch.manual_seed(0)
    found = gradients_after(SAMFChain(8, 6, length=3, style=style), steps=3)
    # A bias that a batch norm takes away again still shows at the border, where padding stands beside it.
    assert {k: v for k, v in found.items() if v < 1e-7} == {}


def test_relu_behind_a_zero_norm_would_be_dead() -> None:
    """The trap that the identity style avoids: this is what the test above must be able to see."""
    torch.manual_seed(0)
    chain = SAMFChain(8, 6, length=3)
    for link in chain.links:
        link.conv_1.append(nn.ReLU())
        link.conv_2.append(nn.ReLU())
    found = gradients_after(chain, steps=3)
    dead = {k.split(".", 2)[2] for k, v in found.items() if v == 0.0}
    assert {"conv_1.0.weight", "conv_2.0.weight", "conv_m.weight", "conv_a.weight", "conv_m.bias"} <= dead


def test_wiring() -> None:
    """First half times M, second half plus A, residual, output convolution."""
    torch.manual_seed(0)
    samf = SAMF(8, 6, activation=False).eval()
    for parameter in samf.parameters():
        nn.init.normal_(parameter, std=0.3)
    features, level = draw(2, 8, 5, 7), draw(2, 6, 5, 7, seed=1)
    with torch.no_grad():
        tokens = (level - level.mean(1, keepdim=True)) / (
            level.var(1, unbiased=False, keepdim=True) + 1e-5
        ).sqrt()
        first = samf.conv_1(features[:, :4] * samf.conv_m(tokens))
        second = samf.conv_2(features[:, 4:] + samf.conv_a(tokens))
        want = samf.conv_o(torch.cat((first, second), dim=1) + features)
        found = samf(features, level)
    assert float((found - want).abs().max()) < 1e-5 * float(want.abs().max())


@pytest.mark.parametrize("size", [(3, 5), (16, 16), (9, 17), (16, 4), (1, 1), (40, 3)])
def test_order_of_resizing_and_convolution_does_not_matter(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    samf = SAMF(8, 6).double()
    level = draw(2, 6, 9, 17).double()
    tokens = F.layer_norm(level.movedim(1, -1), (6,)).movedim(-1, 1)
    for found, conv in zip(samf.modulation(level, size), (samf.conv_m, samf.conv_a), strict=True):
        before = conv(F.interpolate(tokens, size=size, mode="bilinear", align_corners=False))
        after = F.interpolate(conv(tokens), size=size, mode="bilinear", align_corners=False)
        assert found.shape == (2, 4, *size)
        for want in (before, after):
            assert float((found - want).detach().abs().max()) < 1e-12


@pytest.mark.parametrize(("size", "convolved"), [((4, 4), 16), ((16, 16), 64), ((8, 8), 64)])
def test_the_cheaper_order_is_taken(size: tuple[int, int], convolved: int) -> None:
    samf = SAMF(8, 6)
    seen: list[int] = []
    samf.conv_m.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[2] * args[0].shape[3]))
    samf.modulation(draw(1, 6, 8, 8), size)
    assert seen == [convolved]


def test_scale_of_the_semantic_map_does_not_matter() -> None:
    """Levels differ by orders of magnitude in foundation models: the norm over their channels takes that away."""
    torch.manual_seed(0)
    samf = SAMF(8, 6)
    level = draw(1, 6, 4, 4) * 10
    small, large = samf.modulation(level, (4, 4)), samf.modulation(level * 1000 + 5, (4, 4))
    for a, b in zip(small, large, strict=True):
        assert float((a - b).detach().abs().max()) < 1e-4


@pytest.mark.parametrize("name", ["pit-n", "acm", "mlcl"])
def test_attaches_to_a_network_by_its_contract(name: str) -> None:
    torch.manual_seed(0)
    network = create_model(name).eval()
    chain = SAMFChain(network.stage_channels[network.bottleneck_index], 6, length=2)
    levels = [draw(1, 6, 4, 4, seed=k) for k in range(2)]
    with torch.no_grad():
        stages = network.encode(draw(1, 1, 64, 64))
        plain = network.decode(stages)["final"]
        stages[network.bottleneck_index] = chain(stages[network.bottleneck_index], levels)
        fused = network.decode(stages)["final"]
    assert torch.equal(plain, fused), "at its start the chain changes nothing"


def test_mixed_precision() -> None:
    chain = SAMFChain(8, 6, length=2, style="plain")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = chain(F.relu(draw(2, 8, 6, 6)), [draw(2, 6, 3, 3), draw(2, 6, 3, 3, seed=1)])
    out.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in chain.parameters())


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="needs an even number, got 7"):
        SAMF(7, 6)
    with pytest.raises(ValueError, match="style must be one of identity, plain, got 'affine'"):
        SAMF(8, 6, style="affine")
    with pytest.raises(ValueError, match="got length=0"):
        SAMFChain(8, 6, length=0)
    with pytest.raises(ValueError, match="2 SAMF modules and got 3 levels"):
        SAMFChain(8, 6, length=2)(draw(1, 8, 4, 4), [draw(1, 6, 4, 4)] * 3)
    with pytest.raises(ValueError, match=r"semantics must be \[B, 6, height, width\], got \[1, 5, 4, 4\]"):
        SAMF(8, 6)(draw(1, 8, 4, 4), draw(1, 5, 4, 4))
    with pytest.raises(ValueError, match=r"features must be \[B, 8, height, width\], got \[1, 4, 4, 4\]"):
        SAMF(8, 6)(draw(1, 4, 4, 4), draw(1, 6, 4, 4))
