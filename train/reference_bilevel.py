# SPDX-License-Identifier: Apache-2.0
"""The upper step of the published code of arXiv 2605.14346, its errors included, for comparison only.

What is wrong with it: the implicit term has the wrong sign and is scaled by the learning rate of the lower level. The
upper loss is weighted by alpha itself, whose direct gradient lowers the weight of whatever has a high upper loss. And
alpha is a parameter among the student's in one AdamW, with its rate and its weight decay. ``bilevel.py`` has ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from pitviper.train.bilevel import cluster_weights, dot

_NORM_EPS = 1e-12


def reference_gradient(
    upper: Sequence[Tensor], lower: Sequence[Tensor], *, student: int, rate: float
) -> list[Tensor]:
    """The gradient that the published code hands to its optimiser: d + rate c df, where it should be d - c df.

    Args:
        upper: d, of the weighted loss of an upper batch in the student's weights and in alpha.
        lower: df, of the same loss of a training batch.
        student: How many of them, the first ones, are the student's; c is made of these.
        rate: Learning rate of the lower level.
    """
    outer_y, inner_y = upper[:student], lower[:student]
    # A number and no tensor: alpha is not on the device of the student's weights.
    scale = rate * float(dot(outer_y, inner_y)) / (float(dot(inner_y, inner_y)) + _NORM_EPS)
    return [d + scale * df for d, df in zip(upper, lower, strict=True)]


class SharedParameters:
    """Alpha in one AdamW with the student's weights.

    Args:
        clusters: K.
        lr: Learning rate of both.
        weight_decay: Of both.
    """

    def __init__(self, clusters: int, *, lr: float, weight_decay: float) -> None:
        self.alpha = torch.zeros(clusters, requires_grad=True)
        self.lr = lr
        self.weight_decay = weight_decay
        self._optimizer: torch.optim.AdamW | None = None
        self._moments: dict[int, dict[str, Tensor]] = {}

    def weights(self, clusters: Tensor) -> Tensor:
        """Weights [B] of a batch by its clusters, without gradient."""
        return cluster_weights(self.alpha.detach().to(clusters.device), clusters)

    def step(self, student: Sequence[nn.Parameter], gradient: Sequence[Tensor]) -> None:
        """Change the student's weights and alpha.

        Args:
            student: The same ones in the same order at every step.
            gradient: One tensor for each of them, and the one of alpha.

        Raises:
            FloatingPointError: A gradient is not finite; nothing was changed.
        """
        if not all(bool(torch.isfinite(part).all()) for part in gradient):
            raise FloatingPointError("the gradient of an upper step is not finite; lower --lr or --outer-lr")
        optimizer = self._of(student)
        parameters = [*student, self.alpha]
        for parameter, part in zip(parameters, gradient, strict=True):
            parameter.grad = part.to(parameter)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Tensor]:
        """Alpha, and the moments of every parameter by its place."""
        state = self._optimizer.state_dict()["state"] if self._optimizer else self._moments
        moments = chain.from_iterable(
            ((f"adamw.{index}.{key}", torch.as_tensor(value)) for key, value in each.items())
            for index, each in state.items()
        )
        return {"alpha": self.alpha.detach(), **dict(moments)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            ValueError: It is of another number of clusters.
        """
        if state["alpha"].shape != self.alpha.shape:
            raise ValueError(
                f"the checkpoint has {len(state['alpha'])} cluster parameters, there are {len(self.alpha)} clusters"
            )
        with torch.no_grad():
            self.alpha.copy_(state["alpha"])
        self._optimizer, self._moments = None, {}
        for name, value in state.items():
            if name.startswith("adamw."):
                _, index, key = name.split(".")
                self._moments.setdefault(int(index), {})[key] = value.clone()

    def _of(self, student: Sequence[nn.Parameter]) -> torch.optim.AdamW:
        """The optimiser, made at the first step: only then are the weights where they are trained."""
        if self._optimizer is None:
            parameters = [*student, self.alpha]
            self._optimizer = torch.optim.AdamW(parameters, lr=self.lr, weight_decay=self.weight_decay)
            groups = self._optimizer.state_dict()["param_groups"]
            self._optimizer.load_state_dict({"state": self._moments, "param_groups": groups})
        return self._optimizer
