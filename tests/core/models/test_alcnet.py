# SPDX-License-Identifier: Apache-2.0
"""Both networks called ALCNet: exact counts, and the local contrast measure against its definition."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pitviper.core.models import create_model
from pitviper.core.models.alcnet import ChannelNorm, local_contrast


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("name", "channels", "config", "parameters", "cost"),
    [
        ("alcnet", 1, {}, 372_285, 3.5916),
        ("alcnet", 3, {}, 372_573, 3.6105),
        ("alcnet", 1, {"blocks": 3}, 275_069, 2.6857),
        ("alcnet", 3, {"blocks": 3}, 275_357, 2.7045),
        ("alcnet-port", 1, {}, 426_961, 0.2951),
        ("alcnet-port", 3, {}, 427_109, 0.2974),
        ("alcnet-port", 1, {"dead": True}, 519_889, 0.2951),
        ("alcnet-port", 3, {"dead": True}, 520_037, 0.2974),
    ],
)
def test_counts(name: str, channels: int, config: dict[str, object], parameters: int, cost: float) -> None:
    with torch.device("meta"):
        network = create_model(name, in_channels=channels, **config).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(torch.zeros(1, channels, 256, 256))
    assert count(network) == parameters
    assert counter.get_total_flops() / 2e9 == pytest.approx(cost, abs=5e-5)


@pytest.mark.parametrize(
    ("name", "part", "parameters"),
    [
        ("alcnet", "stem", 176),
        ("alcnet", "layer1", 18_688),
        ("alcnet", "layer2", 70_208),
        ("alcnet", "layer3", 279_680),
        ("alcnet", "lateral2", 544),
        ("alcnet", "lateral3", 1_056),
        ("alcnet", "fuse2", 672),
        ("alcnet", "fuse1", 672),
        ("alcnet", "head", 589),
        ("alcnet-port", "stem", 1_864),  # and 2 of the affine input norm
        ("alcnet-port", "input_norm", 2),
        ("alcnet-port", "deconv2", 32_800),
        ("alcnet-port", "deconv1", 8_208),
        ("alcnet-port", "deconv0", 2_056),
        ("alcnet-port", "fuse2", 10_576),
        ("alcnet-port", "fuse1", 2_728),
        ("alcnet-port", "head", 151),
    ],
)
def test_parts(name: str, part: str, parameters: int) -> None:
    with torch.device("meta"):
        assert count(create_model(name).get_submodule(part)) == parameters


def test_dead_layers_change_no_bit() -> None:
    torch.manual_seed(0)
    with_dead = create_model("alcnet-port", dead=True, blocks=1).eval()
    live = create_model("alcnet-port", blocks=1).eval()
    live.load_state_dict({k: with_dead.state_dict()[k] for k in live.state_dict()})
    x = torch.randn(1, 1, 32, 48)
    with torch.no_grad():
        assert torch.equal(live(x), with_dead(x))


def defined(x: Tensor, shifts: tuple[int, ...], border: str) -> Tensor:
    """The definition, pixel by pixel."""
    height, width = x.shape
    out = torch.empty_like(x)

    def at(row: int, column: int) -> float:
        if border == "circular":
            return float(x[row % height, column % width])
        return float(x[min(max(row, 0), height - 1), min(max(column, 0), width - 1)])

    for row in range(height):
        for column in range(width):
            here = float(x[row, column])
            out[row, column] = max(
                min(
                    (at(row + d * dy, column + d * dx) - here) * (at(row - d * dy, column - d * dx) - here)
                    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1))
                )
                for d in shifts
            )
    return out


@pytest.mark.parametrize("border", ["circular", "replicate"])
@pytest.mark.parametrize("shifts", [(3, 5), (13, 17)])
def test_local_contrast_is_its_definition(shifts: tuple[int, ...], border: str) -> None:
    x = torch.randn(11, 9, generator=torch.Generator().manual_seed(0))
    found = local_contrast(x[None, None], shifts=shifts, border=border)[0, 0]
    # Differences of standard normal values, multiplied once in float32 here and in float64 there.
    assert float((found - defined(x, shifts, border)).abs().max()) < 1e-5


@pytest.mark.parametrize("border", ["circular", "replicate"])
@pytest.mark.parametrize(("row", "column"), [(20, 21), (17, 30)])
def test_lone_pixel(row: int, column: int, border: str) -> None:
    x = torch.zeros(1, 2, 40, 48)
    x[0, 1, row, column] = 3.0
    want = torch.zeros_like(x)
    want[0, 1, row, column] = 9.0
    assert torch.equal(local_contrast(x, border=border), want)


def test_border_decides_whether_opposite_borders_meet() -> None:
    x = torch.randn(1, 1, 40, 40, generator=torch.Generator().manual_seed(1))
    y = x.clone()
    y[..., -3:] += 5.0
    for border, meet in (("circular", True), ("replicate", False)):
        change = local_contrast(x, border=border, shifts=(3,)) != local_contrast(
            y, border=border, shifts=(3,)
        )
        assert bool(change[..., :3].any()) == meet


def test_unknown_border() -> None:
    with pytest.raises(ValueError, match=r'border must be "circular" or "replicate", got \'zero\''):
        create_model("alcnet", border="zero")


def test_channel_norm_deploys_as_one_multiplication() -> None:
    norm = ChannelNorm(3).eval()
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            assert tensor is not None
            tensor.uniform_(0.5, 2.0)
        x = torch.randn(2, 3, 4, 5)
        assert float((norm.fuse()(x) - norm(x)).abs().max()) < 1e-6 * float(norm(x).abs().max()) * 4
