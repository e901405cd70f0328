# SPDX-License-Identifier: Apache-2.0
"""Fused convolutions are the function of their branches in evaluation mode."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pitviper.core.modules.reparam import Pointwise, RepConv, ResidualBlock, fold_batch_norm, plain_conv


def trained(module: nn.Module) -> nn.Module:
    """The module with norms away from their start, in evaluation mode."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                assert part.running_mean is not None
                assert part.running_var is not None
                part.running_mean.copy_(torch.randn(part.num_features, generator=generator))
                part.running_var.copy_(torch.rand(part.num_features, generator=generator) + 0.2)
                part.weight.copy_(torch.randn(part.num_features, generator=generator))
                part.bias.copy_(torch.randn(part.num_features, generator=generator))
    return module.eval()


def branches(conv: RepConv, x: torch.Tensor) -> torch.Tensor:
    """What RepConv stands for: three branches, summed after their convolutions."""
    y = F.conv2d(x, conv.weight3, stride=conv.stride, padding=1) + F.conv2d(
        x, conv.weight1, stride=conv.stride
    )
    if conv.identity is not None:
        y = y + x * conv.identity.view(1, -1, 1, 1)
    y = conv.norm(y)
    return F.relu(y) if conv.activation else y


@pytest.mark.parametrize("activation", [True, False])
@pytest.mark.parametrize(("c_in", "c_out", "stride"), [(6, 6, 1), (6, 6, 2), (3, 8, 1), (1, 4, 1), (8, 3, 2)])
def test_repconv(c_in: int, c_out: int, stride: int, activation: bool) -> None:
    torch.manual_seed(0)
    conv = trained(RepConv(c_in, c_out, stride=stride, activation=activation))
    assert isinstance(conv, RepConv)
    assert (conv.identity is not None) == (c_in == c_out and stride == 1)
    if conv.identity is not None:
        nn.init.normal_(conv.identity)
    x = torch.randn(2, c_in, 9, 7)
    with torch.no_grad():
        want, kernel, fused = branches(conv, x), conv(x), conv.fuse()(x)
    assert want.shape == (2, c_out, -(-9 // stride), -(-7 // stride))
    scale = float(want.abs().max())
    assert float((kernel - want).abs().max()) < 1e-5 * scale
    assert float((fused - want).abs().max()) < 1e-5 * scale


def test_fused_repconv_is_plain() -> None:
    fused = RepConv(4, 4).fuse()
    assert [type(m) for m in fused.children()] == [nn.Conv2d, nn.ReLU]
    assert isinstance(RepConv(4, 4, activation=False).fuse(), nn.Conv2d)


def test_pointwise() -> None:
    torch.manual_seed(0)
    layer = trained(Pointwise(6, 3))
    assert isinstance(layer, Pointwise)
    x = torch.randn(2, 6, 5, 4)
    with torch.no_grad():
        want, fused = layer(x), layer.fuse()(x)
    assert float((fused - want).abs().max()) < 1e-5 * float(want.abs().max())


def test_residual_block_keeps_its_input_when_the_branch_is_silent() -> None:
    block = ResidualBlock(4).eval()
    assert isinstance(block.second, RepConv)
    nn.init.zeros_(block.second.norm.weight)
    x = torch.rand(1, 4, 6, 6)
    with torch.no_grad():
        assert torch.equal(block(x), x)


def test_fold_batch_norm_by_hand() -> None:
    """weight 3, mean 2, variance 4 - eps, scale 10, shift 1: y = 10 (3 x - 2) / 2 + 1 = 15 x - 9."""
    norm = nn.BatchNorm2d(1)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    with torch.no_grad():
        norm.running_mean.fill_(2)
        norm.running_var.fill_(4 - norm.eps)
        norm.weight.fill_(10)
        norm.bias.fill_(1)
    weight, bias = fold_batch_norm(torch.full((1, 1, 1, 1), 3.0), norm)
    assert weight.item() == pytest.approx(15, rel=1e-6)
    assert bias.item() == pytest.approx(-9, rel=1e-6)
    with torch.no_grad():
        assert plain_conv(weight, bias)(torch.full((1, 1, 1, 1), 2.0)).item() == pytest.approx(21, rel=1e-6)
