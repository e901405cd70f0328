# SPDX-License-Identifier: Apache-2.0
"""Averaged weights: of a short run not its beginning, of a long one the decay that was asked for."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from pitviper.train.moving_average import warmed_average


def test_a_short_run_forgets_the_weights_that_it_began_with() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average = AveragedModel(network, multi_avg_fn=warmed_average(0.999))
    average.update_parameters(network)
    nn.init.ones_(network.weight)
    for _ in range(45):
        average.update_parameters(network)
    assert float(average.module.weight.detach()) > 0.999


def test_a_long_run_has_the_decay_that_was_asked_for() -> None:
    averaged = [torch.zeros(2)]
    warmed_average(0.999)(averaged, [torch.ones(2)], torch.tensor(100_000))
    assert averaged[0].tolist() == pytest.approx([0.001, 0.001], rel=1e-4)
