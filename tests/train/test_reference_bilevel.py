# SPDX-License-Identifier: Apache-2.0
"""The published upper step: its wrong sign and scale, and what follows from an upper loss that alpha weighs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pitviper.train.bilevel import cluster_weights, gauss_newton, gradients
from pitviper.train.reference_bilevel import SharedParameters, reference_gradient

RATE = 0.01


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_scalar_example() -> None:
    """f = (y - x)^2 / 2, F = (y - t)^2 / 2 with x 2, y 1.5, t 0.3: -1.2 times the rate, where 1.2 is true."""
    x, y, t = 2.0, 1.5, 0.3
    outer_y, inner_y, inner_x = tensor(y - t), tensor(y - x), tensor(x - y)
    _, found = reference_gradient([outer_y, tensor(0.0)], [inner_y, inner_x], student=1, rate=RATE)
    torch.testing.assert_close(found, tensor(-1.2 * RATE))
    ours = gauss_newton(tensor(0.0), inner_x, [outer_y], [inner_y])
    torch.testing.assert_close(found, -RATE * ours)


def test_matrix_example() -> None:
    f_y, f_x, outer_y = tensor(1.5, 1.25), tensor(-1.5, -4.25), tensor(0.5, -0.75)
    of_y, of_x = reference_gradient([outer_y, torch.zeros_like(f_x)], [f_y, f_x], student=1, rate=RATE)
    torch.testing.assert_close(of_x, RATE * tensor(0.0738, 0.2090), atol=5e-5 * RATE, rtol=0)
    # The student's weights are variables of the upper level too, and get the same term.
    torch.testing.assert_close(of_y, outer_y - RATE * 0.0492 * f_y, atol=5e-5 * RATE, rtol=0)


def drifted(rate: float, *, steps: int = 240) -> tuple[Tensor, Tensor]:
    """Upper losses of 32 clusters and their weights after upper steps with batches of 16, as in a run of 300 epochs."""
    rng = np.random.default_rng(0)
    losses = torch.from_numpy(rng.uniform(0.2, 2.0, 32)).float()
    student = nn.Parameter(torch.ones(1))
    shared = SharedParameters(32, lr=rate, weight_decay=1e-2)

    def weighted() -> Tensor:
        ids = torch.from_numpy(rng.choice(32, 16, replace=False))
        return (cluster_weights(shared.alpha, ids) * losses[ids] * student.detach().add(student) / 2).mean()

    for _ in range(steps):
        found = [gradients(weighted(), [student, shared.alpha]) for _ in range(2)]
        with torch.no_grad():
            student.fill_(1.0)
        shared.step([student], reference_gradient(found[0], found[1], student=1, rate=rate))
    return losses, shared.weights(torch.arange(32))


@pytest.mark.parametrize(("rate", "reach"), [(5e-4, 0.2), (1e-3, 0.4)])
def test_weights_drift_against_the_upper_loss(rate: float, reach: float) -> None:
    """What is hard on the upper frames is trained with less, whatever would help; and all weights stay near 1."""
    losses, weights = drifted(rate)
    correlation = np.corrcoef(losses.numpy(), weights.numpy())[0, 1]
    assert correlation < -0.8
    assert weights[losses.argmax()] < 1.0 < weights[losses.argmin()]
    assert float((weights - 1.0).abs().max()) < reach


def test_moments_come_back() -> None:
    torch.manual_seed(0)
    draws = torch.randn(6, 5)
    weights = [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))]
    first, second = (SharedParameters(3, lr=1e-2, weight_decay=0.1) for _ in weights)
    second.load_state_dict(first.state_dict())
    for draw in draws[:3]:
        first.step(weights[:1], [draw[:2], draw[2:]])
    with torch.no_grad():
        weights[1].copy_(weights[0])
    second.load_state_dict({k: v.clone() for k, v in first.state_dict().items()})
    kept = second.state_dict()
    assert all(torch.equal(v, kept[k]) for k, v in first.state_dict().items()), "before its first step"
    for draw in draws[3:]:
        first.step(weights[:1], [draw[:2], draw[2:]])
        second.step(weights[1:], [draw[:2], draw[2:]])
    assert torch.equal(first.alpha, second.alpha)
    assert torch.equal(weights[0], weights[1])
    assert bool((weights[0] != 1.0).all())


def test_refusals() -> None:
    shared, weight = SharedParameters(2, lr=1e-2, weight_decay=0.0), nn.Parameter(torch.ones(1))
    with pytest.raises(FloatingPointError, match="not finite; lower --lr or --outer-lr"):
        shared.step([weight], [torch.ones(1), torch.tensor([0.0, float("inf")])])
    assert not shared.alpha.detach().any()
    assert float(weight.detach()) == 1.0
    with pytest.raises(ValueError, match="2 cluster parameters, there are 3"):
        SharedParameters(3, lr=1e-2, weight_decay=0.0).load_state_dict(shared.state_dict())
