# SPDX-License-Identifier: Apache-2.0
"""ALCL-Net is the published graph: exact parameters of the whole and of each part, and multiply-adds."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pitviper.core.models import create_model
from pitviper.core.models.alcl import SimplifiedBilateralAttention


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(("channels", "parameters", "cost"), [(1, 5_667_857, 6.6543), (3, 5_668_145, 6.6731)])
def test_counts(channels: int, parameters: int, cost: float) -> None:
    with torch.device("meta"):
        network = create_model("alcl", in_channels=channels)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, channels, 256, 256))
    assert count(network) == parameters
    assert counter.get_total_flops() / 2e9 == pytest.approx(cost, abs=5e-5)


@pytest.mark.parametrize(
    ("part", "parameters"),
    [
        ("stem", 2_544),
        ("stages.0.0", 4_704),
        ("stages.3.0", 296_064),
        ("stages.3.1", 295_680),
        ("stages.4.0", 1_181_952),
        ("stages.4.1", 1_181_184),
        ("contrast.0", 2_592),
        ("contrast.1", 10_304),
        ("contrast.2", 41_088),
        ("contrast.3", 164_096),
        ("contrast.4", 655_872),
        ("fuse.3", 49_920),
        ("fuse.2", 12_672),
        ("fuse.1", 3_264),
        ("fuse.0", 864),
        ("head", 289),
    ],
)
def test_parts(part: str, parameters: int) -> None:
    with torch.device("meta"):
        assert count(create_model("alcl").get_submodule(part)) == parameters


def test_attention_gates_the_deep_map_with_the_shallow_one() -> None:
    torch.manual_seed(0)
    block = SimplifiedBilateralAttention(8, 4).eval()
    high, low = torch.randn(1, 8, 3, 3), torch.randn(1, 4, 6, 6)
    with torch.no_grad():
        nn.init.constant_(block.gate[1].bias, -1e4)
        assert torch.equal(block(high, low), low), "a closed gate lets only the shallow map through"
        nn.init.constant_(block.gate[1].bias, 1e4)
        passed = block(high, low) - low
    assert float(passed.min()) >= -1e-6
    assert float(passed.max()) > 0.1


def test_start_is_kaiming_everywhere() -> None:
    torch.manual_seed(0)
    network = create_model("alcl")
    for name, fan_out in (("stages.4.1.body.0", 9 * 256), ("contrast.4.0", 256), ("fuse.3.reduce.0", 128)):
        weight = network.get_parameter(f"{name}.weight")
        assert float(weight.detach().std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)
        assert not network.get_parameter(f"{name}.bias").any()
