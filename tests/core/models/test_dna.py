# SPDX-License-Identifier: Apache-2.0
"""DNA-Net is the published graph: exact counts, order of the outputs, and what reaches which node."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pitviper.core.models import create_model
from pitviper.core.modules.attention import ChannelAttention


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "channels", "parameters", "cost"),
    [
        ("dna-r10", 1, 2_611_876, 10.8814),
        ("dna-r10", 3, 2_612_196, 10.9023),
        ("dna-r18", 1, 4_696_568, 13.9091),
        ("dna-r18", 3, 4_696_888, 13.9301),
        ("dna-r34", 1, 8_792_382, 19.6567),
        ("dna-r34", 3, 8_792_702, 19.6776),
    ],
)
def test_counts(name: str, channels: int, parameters: int, cost: float) -> None:
    """The published multiply-adds include the side heads, so they are those of training mode."""
    with torch.device("meta"):
        network = create_model(name, in_channels=channels).train()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, channels, 256, 256))
    assert count(network) == parameters
    assert counter.get_total_flops() / 2e9 == pytest.approx(cost, abs=5e-5)


@pytest.mark.parametrize(
    ("part", "parameters"),
    [
        ("nodes.x0_0", 2_738),
        ("nodes.x1_0", 33_700),
        ("nodes.x2_0", 133_252),
        ("nodes.x3_0", 530_500),
        ("nodes.x4_0", 2_117_572),
        ("nodes.x0_1", 10_258),
        ("nodes.x1_1", 64_420),
        ("nodes.x2_1", 256_132),
        ("nodes.x3_1", 1_022_020),
        ("nodes.x0_2", 12_818),
        ("nodes.x1_2", 74_660),
        ("nodes.x2_2", 297_092),
        ("nodes.x0_3", 15_378),
        ("nodes.x1_3", 84_900),
        ("nodes.x0_4", 17_938),
        ("final", 15_378),
        ("to_final.3", 4_112),
        ("to_final.2", 2_064),
        ("to_final.1", 1_040),
        ("to_final.0", 528),
        ("head", 17),
        ("side_heads", 51),
    ],
)
def test_parts(part: str, parameters: int) -> None:
    with torch.device("meta"):
        assert count(create_model("dna-r18").get_submodule(part)) == parameters


def test_outputs() -> None:
    network = create_model("dna-r10", widths=(4, 8, 8, 8, 8))
    outputs = network.decode(network.encode(torch.randn(2, 1, 32, 48)))
    assert list(outputs) == ["x0_1", "x0_2", "x0_3", "final"]
    assert {tuple(y.shape) for y in outputs.values()} == {(2, 1, 32, 48)}


def test_deployed_has_no_side_heads() -> None:
    network = create_model("dna-r10", widths=(4, 8, 8, 8, 8))
    side = {k for k in network.state_dict() if k.startswith("side_heads")}
    assert len(side) == 6
    deployed = network.deploy()
    assert not any(k.startswith("side_heads") for k in deployed.state_dict())
    assert len(network.side_heads) == 3, "the network itself keeps them"


def test_the_bottleneck_reaches_only_the_last_diagonal() -> None:
    """What replaces x4_0 leaves every side output as it was: two branches can share the nodes before."""
    torch.manual_seed(0)
    network = create_model("dna-r10", widths=(4, 8, 8, 8, 8))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    with torch.no_grad():
        stages = network.encode(torch.randn(1, 1, 32, 32))
        before = network.decode(stages)
        after = network.decode([*stages[:-1], stages[-1] + 1.0])
    assert all(torch.equal(before[k], after[k]) for k in ("x0_1", "x0_2", "x0_3"))
    assert not torch.equal(before["final"], after["final"])


def test_start_is_xavier() -> None:
    torch.manual_seed(0)
    weight = create_model("dna-r10").get_parameter("nodes.x4_0.0.body.3.weight")
    assert float(weight.detach().std()) == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.02)


def test_channel_attention_of_few_channels_has_a_hidden_unit() -> None:
    attention = ChannelAttention(4)
    assert count(attention) == 8
    gate = attention(torch.randn(2, 4, 5, 5))
    assert gate.shape == (2, 4, 1, 1)
    assert float(gate.detach().std()) > 0


def test_blocks_and_widths_must_agree() -> None:
    with pytest.raises(ValueError, match=r"one entry of blocks less, got 5 widths and 2 blocks"):
        create_model("dna-r18", blocks=(2, 2))
