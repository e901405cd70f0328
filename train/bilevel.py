# SPDX-License-Identifier: Apache-2.0
"""Weights of clusters of images, learned so that training with them helps on frames that are held out for it.

Source: "Learning with Semantic Priors" (arXiv 2605.14346). The lower level are the network's weights y, trained with
f(alpha, y) = mean_i w_i(alpha) l_i(y); the upper level is alpha, one number a cluster, by F(y) on those frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_LARGEST_LOG = math.log(2.0)
_MEAN_EPS = 1e-6
_NORM_EPS = 1e-12

# Relative size of the step of the central difference: in float32 its rounding and its curvature are then alike.
_DIFFERENCE = 1e-3

Loss = Callable[[], Tensor]


def cluster_weights(alpha: Tensor, clusters: Tensor) -> Tensor:
    """Weights [B] of the samples of a batch, with mean 1; each is within a factor of 2 of the mean before that.

    Args:
        alpha: One parameter for each cluster, [K].
        clusters: Cluster of each sample, int64 [B].
    """
    chosen = alpha[clusters]
    relative = chosen - chosen.mean()
    weights = torch.exp(_LARGEST_LOG * torch.tanh(relative / _LARGEST_LOG))
    return weights / (weights.mean().detach() + _MEAN_EPS)


def gauss_newton(
    direct: Tensor, lower: Tensor, outer_y: Sequence[Tensor], inner_y: Sequence[Tensor]
) -> Tensor:
    """Total derivative of F in the upper variable x, by a rank-one Gauss-Newton form of the implicit term.

    dF/dx - c df/dx with c = <F_y, f_y> / <f_y, f_y>. The published code adds the second term, times a learning rate.
    c is one number for a batch: it cannot tell which sample's gradient helps.

    Args:
        direct: dF/dx.
        lower: df/dx, of the same shape.
        outer_y: F_y, one tensor for each lower variable.
        inner_y: f_y, alike.
    """
    scale = dot(outer_y, inner_y) / (dot(inner_y, inner_y) + _NORM_EPS)
    return direct - scale * lower


def unrolled(alpha: Tensor, clusters: Tensor, alignments: Tensor, *, rate: float) -> Tensor:
    """Derivative in alpha [K] of F after one step of gradient descent: -rate mean_i dw_i/dalpha <F_y, l_i_y>.

    Args:
        alpha: [K].
        clusters: int64 [B].
        alignments: <F_y, l_i_y> of each sample, [B].
        rate: Learning rate of the step.
    """
    with torch.enable_grad():
        leaf = alpha.detach().requires_grad_()
        value = -rate * (cluster_weights(leaf, clusters) * alignments.detach()).mean()
        (gradient,) = torch.autograd.grad(value, leaf)
    return gradient


def alignments(losses: Loss, weights: Sequence[Tensor], direction: Sequence[Tensor]) -> Tensor:
    """<direction, gradient of l_i> of each sample, by a central difference: two passes, no second derivative.

    Args:
        losses: l [B] at the present weights, each of one sample alone.
        weights: Lower variables; moved and put back bit by bit.
        direction: One tensor for each.

    Returns:
        [B].
    """
    length = dot(direction, direction).sqrt()
    if float(length) == 0.0:
        return torch.zeros_like(losses().detach())
    step = _DIFFERENCE * (1.0 + dot(weights, weights).sqrt()) / length
    before = [w.detach().clone() for w in weights]
    with torch.no_grad():
        try:
            found = []
            for sign in (1.0, -1.0):
                for w, own, d in zip(weights, before, direction, strict=True):
                    w.copy_(own + sign * step * d)
                found.append(losses())
        finally:
            for w, own in zip(weights, before, strict=True):
                w.copy_(own)
    return (found[0] - found[1]) / (2.0 * step)


def hypergradient(
    kind: str,
    alpha: Tensor,
    clusters: Tensor,
    *,
    inner: Loss,
    outer: Sequence[Tensor],
    weights: Sequence[Tensor],
    rate: float,
) -> Tensor:
    """Derivative of the upper loss in alpha [K]; F does not depend on alpha, so that it is the implicit term alone.

    Args:
        kind: "gn" or "unrolled".
        alpha: [K].
        clusters: Of the training batch, int64 [B].
        inner: Losses l [B] of the training batch at the present weights, each of one sample alone.
        outer: F_y, one tensor for each of ``weights``.
        weights: y.
        rate: Learning rate of the lower level, for "unrolled".

    Raises:
        ValueError: Unknown kind.
    """
    if kind == "unrolled":
        return unrolled(alpha, clusters, alignments(inner, weights, outer), rate=rate)
    if kind != "gn":
        raise ValueError(f"a hypergradient is one of gn and unrolled, got {kind!r}")
    with torch.enable_grad():
        leaf = alpha.detach().requires_grad_()
        losses = inner()
        weighted = cluster_weights(leaf, clusters)
        # One number depends on alpha through the weights alone, the other on y through the losses alone.
        inner_y = gradients((weighted.detach() * losses).mean(), weights)
        (lower,) = torch.autograd.grad((weighted * losses.detach()).mean(), leaf)
    return gauss_newton(torch.zeros_like(alpha), lower, outer, inner_y)


def gradients(loss: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """Gradient of a loss in each of the weights; zeros where it does not depend on one."""
    found = torch.autograd.grad(loss, list(weights), allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]


_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class ClusterParameters:
    """Alpha and its own optimiser: Adam without weight decay, and a mean of 0 after each step.

    Adam does not see the scale of a hypergradient, only its sign and relative size. A batch holds few of the clusters:
    a cluster that is not in it has no gradient, and neither its parameter nor its moments move but for the mean.

    Args:
        clusters: K.
        lr: Learning rate.

    Raises:
        ValueError: Fewer than one cluster.
    """

    def __init__(self, clusters: int, *, lr: float = 1e-2) -> None:
        if clusters < 1:
            raise ValueError(f"there is at least one cluster, got {clusters}")
        self.alpha = torch.zeros(clusters)
        self.lr = lr
        self.moments = {name: torch.zeros(clusters) for name in ("steps", "mean", "square")}

    def weights(self, clusters: Tensor) -> Tensor:
        """Weights [B] of a batch by its clusters, without gradient."""
        return cluster_weights(self.alpha.to(clusters.device), clusters)

    def step(self, gradient: Tensor) -> None:
        """Go against a hypergradient [K].

        Raises:
            FloatingPointError: It is not finite; nothing was changed.
        """
        if not bool(torch.isfinite(gradient).all()):
            raise FloatingPointError("the hypergradient of the cluster weights is not finite; lower --lr")
        gradient = gradient.detach().to(self.alpha)
        present = gradient != 0.0
        steps, mean, square = self.moments.values()
        steps[present] += 1
        mean[present] = torch.lerp(gradient, mean, _BETAS[0])[present]
        square[present] = torch.lerp(gradient.square(), square, _BETAS[1])[present]
        corrected = (1.0 - torch.pow(torch.tensor(beta), steps) for beta in _BETAS)
        step = mean / next(corrected) / ((square / next(corrected)).sqrt() + _EPSILON)
        self.alpha[present] -= self.lr * step[present]
        self.alpha -= self.alpha.mean()

    def state_dict(self) -> dict[str, Tensor]:
        """Alpha and the moments of its optimiser."""
        return {"alpha": self.alpha, **{f"adam.{name}": value for name, value in self.moments.items()}}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            ValueError: It is of another number of clusters.
        """
        if state["alpha"].shape != self.alpha.shape:
            raise ValueError(
                f"the checkpoint has {len(state['alpha'])} cluster parameters, there are {len(self.alpha)} clusters"
            )
        self.alpha.copy_(state["alpha"])
        for name, value in self.moments.items():
            value.copy_(state[f"adam.{name}"])


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """<a, b> over all tensors, summed in float64."""
    total = sum((x.detach().double() * y.detach().double()).sum() for x, y in zip(a, b, strict=True))
    assert isinstance(total, Tensor)
    return total.to(a[0].dtype)
