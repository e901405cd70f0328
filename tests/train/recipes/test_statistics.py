# SPDX-License-Identifier: Apache-2.0
"""Second statistics of a decoder: the right batch norms, lent and given back, nothing else touched."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn

from pitviper.core.models import DetectorNetwork, create_model
from pitviper.train.recipes.statistics import BranchStatistics, examine


class TwoStages(DetectorNetwork):
    """A network that is not in the registry: signed bottleneck, one norm each way, one side head in training."""

    def __init__(self) -> None:
        super().__init__()
        self.stage_channels, self.stage_strides, self.required_multiple = (4,), (1,), 1
        self.in_channels, self.config = 1, None
        self.into = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.out = nn.Sequential(nn.Conv2d(4, 1, 1), nn.BatchNorm2d(1, momentum=None))
        self.side = nn.Sequential(nn.Conv2d(4, 1, 1), nn.BatchNorm2d(1), nn.Dropout(0.5))
        self.unused = nn.BatchNorm2d(1)
        self.blind = nn.BatchNorm2d(1, track_running_stats=False)

    def encode(self, x: Tensor) -> list[Tensor]:
        return [self.into(x)]

    def decode(self, stages: list[Tensor]) -> OrderedDict[str, Tensor]:
        final = self.blind(self.out(stages[0]))
        return (
            OrderedDict(side=self.side(stages[0]), final=final) if self.training else OrderedDict(final=final)
        )


def test_examine_finds_the_norms_of_the_decoder_alone() -> None:
    network = TwoStages()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    random = torch.get_rng_state()
    found = examine(network.eval())
    assert set(found.decoder_norms) == {"out.1", "side.1"}
    assert not found.rectified
    assert not network.training
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert not any(m._forward_hooks for m in network.modules())


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("pit-n", "up.0.norm", "down.0.norm"),
        ("acm", "fuse1.post.1", "layer3.0.body.1"),
        ("dna-r10", "nodes.x0_1.", "nodes.x0_0."),
    ],
)
def test_examine_knows_no_network_by_name(name: str, inside: str, outside: str) -> None:
    found = examine(create_model(name))
    assert found.rectified, "all published networks end their encoder with a ReLU"
    assert any(n.startswith(inside) for n in found.decoder_norms)
    assert not any(n.startswith(outside) for n in found.decoder_norms)


def test_a_decoder_without_norms_needs_no_statistics() -> None:
    assert examine(create_model("mlcl")).decoder_norms == ()
    assert BranchStatistics(create_model("mlcl"), ()).state_dict() == {}


def test_lent_statistics_alone_are_updated() -> None:
    torch.manual_seed(0)
    network = TwoStages()
    statistics = BranchStatistics(network, ["out.1", "side.1"])
    x = [torch.randn(2, 4, 8, 8) + 3.0]
    own = {key: value.clone() for key, value in network.state_dict().items()}
    with statistics.in_use(network):
        network.decode(x)
        network.decode(x)
    assert all(torch.equal(own[key], value) for key, value in network.state_dict().items())
    lent = statistics.state_dict()
    assert lent["sets.out-1.num_batches_tracked"] == 2
    for _ in range(2):
        network.decode(x)
    for key in ("running_mean", "running_var", "num_batches_tracked"):
        for norm in ("out", "side"):
            assert torch.equal(lent[f"sets.{norm}-1.{key}"], network.state_dict()[f"{norm}.1.{key}"]), key


def test_statistics_come_back_after_an_error() -> None:
    network = TwoStages()
    statistics = BranchStatistics(network, ["out.1"])
    own = network.out[1].running_mean
    with statistics.in_use(network):
        assert network.out[1].running_mean is not own

    def fail() -> None:
        with statistics.in_use(network):
            network.decode([torch.zeros(1, 3, 8, 8)])

    with pytest.raises(RuntimeError, match="channels"):
        fail()
    assert network.out[1].running_mean is own
