# SPDX-License-Identifier: Apache-2.0
"""MLCL-Net is the published graph: exact parameters of the whole and of each part, and multiply-adds."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pitviper.core.models import create_model
from pitviper.core.models.mlcl import MultiscaleLocalContrast


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("channels", "blocks", "parameters", "cost"),
    [
        (1, 3, 656_961, 6.9930),
        (3, 3, 657_249, 7.0118),
        (1, 2, 559_521, 6.0870),
        (3, 2, 559_809, 6.1059),
    ],
)
def test_counts(channels: int, blocks: int, parameters: int, cost: float) -> None:
    with torch.device("meta"):
        network = create_model("mlcl", in_channels=channels, blocks=blocks)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, channels, 256, 256))
    assert count(network) == parameters
    assert counter.get_total_flops() / 2e9 == pytest.approx(cost, abs=5e-5)


@pytest.mark.parametrize(
    ("part", "parameters"),
    [
        ("stem", 2_544),
        ("stage1.0", 4_704),
        ("stage2.0", 18_720),
        ("stage2.1", 18_624),
        ("stage3.0", 74_304),
        ("stage3.1", 74_112),
        ("contrast.0", 16_752),
        ("contrast.1", 66_784),
        ("contrast.2", 266_688),
        ("lateral.0", 1_088),
        ("lateral.1", 2_112),
        ("lateral.2", 4_160),
        ("head", 4_225),
    ],
)
def test_parts(part: str, parameters: int) -> None:
    with torch.device("meta"):
        assert count(create_model("mlcl").get_submodule(part)) == parameters


def test_branches_of_the_contrast_block_see_3_9_and_15_pixels() -> None:
    block = MultiscaleLocalContrast(1)
    for parameter in block.parameters():
        nn.init.constant_(parameter, 1.0)
    frame = torch.zeros(1, 1, 31, 31)
    frame[0, 0, 15, 15] = 1.0
    for branch, side in zip(block.branches, (3, 9, 15), strict=True):
        reached = (branch(frame) != branch(torch.zeros_like(frame)))[0, 0]
        assert int(reached.any(dim=0).sum()) == side


def test_start() -> None:
    """The encoder starts from Kaiming normal, fan out; the laterals and the head from PyTorch's own start."""
    torch.manual_seed(0)
    network = create_model("mlcl")
    weight = network.get_parameter("stage3.1.body.0.weight")
    assert float(weight.detach().std()) == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert not network.get_parameter("stage3.1.body.0.bias").any()
    assert network.get_parameter("lateral.2.0.bias").any()
