# SPDX-License-Identifier: Apache-2.0
"""Cluster weights and their hypergradients: the specification's numbers, the signs, and what each form sees."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pitviper.train.bilevel import (
    ClusterParameters,
    alignments,
    cluster_weights,
    gauss_newton,
    gradients,
    hypergradient,
    unrolled,
)

RATE = 0.1


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        ((0.5, 0.0, -0.5), (1.4448, 0.9416, 0.6136)),
        ((10.0, 0.0, 0.0, 0.0), (2.2847, 0.5718, 0.5718, 0.5718)),
        ((3.0, 3.0), (1.0, 1.0)),
    ],
)
def test_weights_of_the_specification(alpha: tuple[float, ...], expected: tuple[float, ...]) -> None:
    found = cluster_weights(tensor(*alpha), torch.arange(len(alpha)))
    torch.testing.assert_close(found, tensor(*expected), atol=5e-5, rtol=0)
    torch.testing.assert_close(found.mean(), torch.ones((), dtype=torch.float64), atol=1e-5, rtol=0)


def test_a_cluster_that_comes_twice_in_a_batch() -> None:
    found = cluster_weights(tensor(0.5, 0.0), torch.tensor([1, 0, 1, 1]))
    assert found[0] == found[2] == found[3] < found[1]


def test_scalar_example() -> None:
    """f = (y - x)^2 / 2, F = (y - t)^2 / 2 with x 2, y 1.5, t 0.3: the true derivative is 1.2, not -1.2 eta."""
    x, y, t = 2.0, 1.5, 0.3
    found = gauss_newton(tensor(0.0), tensor(x - y), [tensor(y - t)], [tensor(y - x)])
    torch.testing.assert_close(found, tensor(1.2))


def test_matrix_example() -> None:
    a = torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
    x, y, t = tensor(1, -1).requires_grad_(), tensor(0.5, 0.25).requires_grad_(), tensor(0, 1)
    f, big_f = (y - a @ x).square().sum() / 2, (y - t).square().sum() / 2
    f_x, f_y = torch.autograd.grad(f, (x, y))
    torch.testing.assert_close(f_y, tensor(1.5, 1.25))
    torch.testing.assert_close(f_x, tensor(-1.5, -4.25))
    found = gauss_newton(torch.zeros_like(f_x), f_x, gradients(big_f, [y]), [f_y])
    torch.testing.assert_close(found, tensor(-0.0738, -0.2090), atol=5e-5, rtol=0)


class ThreeSamples:
    """The specification's example: y (1, 0), three samples in three clusters, F = |y - (2, 0)|^2 / 2."""

    def __init__(self) -> None:
        self.y = tensor(1, 0).requires_grad_()
        self.targets = torch.stack([tensor(1.5, 0), tensor(1, 3), tensor(2, 0)])
        self.alpha, self.clusters = torch.zeros(3, dtype=torch.float64), torch.arange(3)

    def losses(self) -> Tensor:
        return (self.y - self.targets).square().sum(dim=1) / 2

    def outer(self) -> list[Tensor]:
        return gradients((self.y - tensor(2, 0)).square().sum() / 2, [self.y])

    def gradient(self, kind: str) -> Tensor:
        return hypergradient(
            kind,
            self.alpha,
            self.clusters,
            inner=self.losses,
            outer=self.outer(),
            weights=[self.y],
            rate=RATE,
        )


def test_alignments_of_the_example() -> None:
    example = ThreeSamples()
    before = example.y.detach().clone()
    found = alignments(example.losses, [example.y], example.outer())
    torch.testing.assert_close(found, tensor(0.5, 0, 1), atol=1e-9, rtol=0)
    assert torch.equal(example.y, before)
    assert not alignments(example.losses, [example.y], [tensor(0, 0)]).any()


@pytest.mark.parametrize(
    ("kind", "expected"), [("gn", (0.2111, -0.3722, 0.1611)), ("unrolled", (0.0, 0.0167, -0.0167))]
)
def test_hypergradients_of_the_example(kind: str, expected: tuple[float, ...]) -> None:
    torch.testing.assert_close(ThreeSamples().gradient(kind), tensor(*expected), atol=5e-5, rtol=0)


def test_unrolled_has_the_signs_of_the_exact_gradient() -> None:
    """F(y - rate grad f) by a second derivative: differs by O(rate^2), and the order of the samples stays."""
    example = ThreeSamples()
    alpha = example.alpha.clone().requires_grad_()
    f = (cluster_weights(alpha, example.clusters) * example.losses()).mean()
    (step,) = torch.autograd.grad(f, example.y, create_graph=True)
    moved = example.y.detach() - RATE * step
    (exact,) = torch.autograd.grad((moved - tensor(2, 0)).square().sum() / 2, alpha)
    torch.testing.assert_close(exact, tensor(-0.0033, 0.0225, -0.0192), atol=5e-5, rtol=0)
    ours = example.gradient("unrolled")
    assert ours.argsort().tolist() == exact.argsort().tolist()
    assert ours[1] > 0 > ours[2]


def test_unrolled_raises_what_helps_and_gn_what_is_large() -> None:
    """The sample that does not help has the largest loss: only one of the two forms sees that."""
    after = {}
    for kind in ("gn", "unrolled"):
        example, parameters = ThreeSamples(), ClusterParameters(3)
        for _ in range(5):
            parameters.step(example.gradient(kind))
        after[kind] = parameters.alpha
        assert abs(float(parameters.alpha.mean())) < 1e-7
    assert after["unrolled"].argmax() == 2
    assert after["unrolled"].argmin() == 1
    assert after["gn"].argmax() == 1


@pytest.mark.parametrize("kind", ["gn", "unrolled"])
def test_a_sign_error_is_seen(kind: str) -> None:
    """With the sample's gradient against the val loss's, its weight goes down."""
    example = ThreeSamples()
    example.targets[2] = tensor(-4, 0)
    gradient = example.gradient(kind)
    assert gradient[2] > 0
    assert gradient[2] == gradient.max()


def test_alignments_of_a_network_in_float32() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.SiLU(), torch.nn.Conv2d(4, 1, 3))
    x, y = torch.randn(6, 1, 9, 9), torch.rand(6, 1, 5, 5)
    weights = list(network.parameters())

    def losses() -> Tensor:
        return (network(x) - y).square().mean(dim=(1, 2, 3))

    outer = gradients((network(x.flip(2)) - 1).square().mean(), weights)
    exact = torch.zeros(6)
    for sample in range(6):
        own = gradients(losses()[sample], weights)
        exact[sample] = sum((g * o).sum() for g, o in zip(own, outer, strict=True))
    found = alignments(losses, weights, outer)
    # Rounding of the losses over the step of 1e-3, about 1e-4 of the largest alignment.
    torch.testing.assert_close(found, exact, atol=2e-3 * float(exact.abs().max()), rtol=0)


def test_a_gradient_of_unused_weights_is_zero() -> None:
    a, b = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    assert [g.tolist() for g in gradients(a.sum(), [a, b])] == [[1, 1], [0, 0, 0]]


def test_a_cluster_moves_in_the_steps_that_it_comes_in() -> None:
    """Adam's stale moments would move it in all that follow; and its first step is as long as any other's."""
    parameters = ClusterParameters(3, lr=0.01)
    parameters.step(torch.tensor([-1.0, 0.0, 0.0]))
    apart = float(parameters.alpha[0] - parameters.alpha[1])
    assert apart == pytest.approx(0.01, rel=1e-4)
    for _ in range(10):
        parameters.step(torch.tensor([0.0, 0.0, 1.0]))
    assert float(parameters.alpha[0] - parameters.alpha[1]) == pytest.approx(apart, rel=1e-5)
    before = float(parameters.alpha[1])
    parameters.step(torch.tensor([0.0, 5.0, 0.0]))
    # Of the step, a third is what keeps the mean at 0.
    assert before - float(parameters.alpha[1]) == pytest.approx(0.01 * 2 / 3, rel=1e-3)


def test_where_every_cluster_comes_in_the_steps_are_those_of_adam() -> None:
    parameters, alpha = ClusterParameters(4, lr=0.01), torch.zeros(4, requires_grad=True)
    adam = torch.optim.Adam([alpha], lr=0.01)
    for seed in range(5):
        gradient = torch.randn(4, generator=torch.Generator().manual_seed(seed))
        parameters.step(gradient)
        alpha.grad = gradient
        adam.step()
        with torch.no_grad():
            alpha -= alpha.mean()
    torch.testing.assert_close(parameters.alpha, alpha.detach(), atol=1e-7, rtol=1e-5)


def test_parameters_come_back_with_their_moments() -> None:
    first, second = ClusterParameters(4), ClusterParameters(4)
    second.load_state_dict(first.state_dict())
    draws = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    for draw in draws[:3]:
        first.step(draw)
    second.load_state_dict({k: v.clone() for k, v in first.state_dict().items()})
    for draw in draws[3:]:
        first.step(draw)
        second.step(draw)
    assert torch.equal(first.alpha, second.alpha)
    assert first.alpha.any()
    assert first.weights(torch.tensor([0, 1])).mean() == pytest.approx(1.0, abs=1e-5)


def test_refusals() -> None:
    parameters = ClusterParameters(3)
    with pytest.raises(FloatingPointError, match="not finite"):
        parameters.step(torch.tensor([0.0, float("nan"), 1.0]))
    assert not parameters.alpha.any()
    with pytest.raises(ValueError, match="3 cluster parameters, there are 2"):
        ClusterParameters(2).load_state_dict(parameters.state_dict())
    with pytest.raises(ValueError, match="at least one cluster"):
        ClusterParameters(0)
    with pytest.raises(ValueError, match="gn and unrolled, got 'none'"):
        ThreeSamples().gradient("none")
    assert not unrolled(torch.zeros(2), torch.tensor([0, 1]), torch.zeros(2), rate=1.0).any()
