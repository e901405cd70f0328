# SPDX-License-Identifier: Apache-2.0
"""Networks that tests of packages and graphs share, made once: exporting takes seconds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pitviper.core.models import DetectorNetwork, create_model


def randomise(network: DetectorNetwork, seed: int = 0) -> DetectorNetwork:
    """Give every batch norm statistics and parameters as after training, so that folding them has to be right."""
    generator = torch.Generator().manual_seed(seed)

    def draw(like: torch.Tensor, low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(like.shape, generator=generator)

    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.copy_(draw(module.running_mean, -0.5, 0.5))
                module.running_var.copy_(draw(module.running_var, 0.3, 2.0))
                if module.affine:
                    module.weight.copy_(draw(module.weight, 0.5, 1.5))
                    module.bias.copy_(draw(module.bias, -0.3, 0.3))
    return network.eval()


def random_network(name: str, **config: object) -> DetectorNetwork:
    """A network of the zoo with seeded random weights and statistics, in training form and evaluation mode."""
    torch.manual_seed(0)
    return randomise(create_model(name, **config))


@pytest.fixture(scope="session")
def network() -> DetectorNetwork:
    """The smallest network; tests do not change it."""
    return random_network("pit-n")
