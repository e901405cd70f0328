# SPDX-License-Identifier: Apache-2.0
"""Parameters of published networks are exact; the multiply-adds of our own stay within what their names promise."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pitviper.core.models import complexity, create_model


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def gmac(network: nn.Module, channels: int = 1) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, channels, 256, 256))
    return float(counter.get_total_flops()) / 2e9


@pytest.mark.parametrize(
    ("name", "channels", "parameters", "cost"),
    [
        ("acm", 1, 397_821, 0.3433),
        ("acm", 3, 397_965, 0.3457),
        ("acm-original", 1, 518_269, 0.4377),
        ("acm-original", 3, 518_413, 0.4400),
    ],
)
def test_acm(name: str, channels: int, parameters: int, cost: float) -> None:
    network = create_model(name, in_channels=channels).eval()
    assert count(network) == parameters
    assert gmac(network, channels) == pytest.approx(cost, abs=5e-5)


@pytest.mark.parametrize(
    ("part", "parameters"),
    [
        ("input_norm", 0),
        ("stem", 1_864),  # 1,866 in ports, whose input norm is affine
        ("layer1", 14_016),
        ("layer2", 51_648),
        ("layer3", 205_696),
        ("deconv2", 32_800),
        ("uplayer2", 55_680),
        ("fuse2", 10_576),
        ("deconv1", 8_208),
        ("uplayer1", 14_016),
        ("fuse1", 2_728),
        ("head", 589),
    ],
)
def test_parts_of_acm(part: str, parameters: int) -> None:
    assert count(create_model("acm").get_submodule(part)) == parameters


@pytest.mark.parametrize(("name", "limit"), [("pit-n", 0.25), ("pit-s", 1.0), ("pit-m", 3.0)])
def test_cost_of_deployed_pitnet(name: str, limit: float) -> None:
    """GMAC at 256x256, counting the zeros that the half-resolution form of the full-resolution path multiplies."""
    network = create_model(name)
    cost = complexity(network)["gmac_256x256"]
    assert cost == pytest.approx(gmac(network.deploy()), abs=1e-4)
    assert 0.6 * limit < cost <= limit
