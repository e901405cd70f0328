# SPDX-License-Identifier: Apache-2.0
"""SCAM: a frozen foundation model's view of the whole crop scales and shifts the channels of every encoder stage.

Source: "Learning with Semantic Priors" (arXiv 2605.14346). SCAM belongs to training: with it a network is the teacher,
without it the student, which is what is deployed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pitviper.core.models.base import DetectorNetwork
from pitviper.kernels import affine_modulate

Modulation = list[tuple[Tensor, Tensor]]
"""Gamma and beta of each stage, both [B, C]."""

APPLICATIONS = ("post", "sequential")
_NEGLIGIBLE = 1e-6
_PROBE_SIDE = 64

# Published for MLCL-Net and ALCL-Net alone; other networks get the one of their depth.
_STRENGTH_SHALLOW = 0.55
_STRENGTH_DEEP = 0.12
_SHALLOW = 3


class SCAM(nn.Module):
    """From all levels of a foundation model to one affine function for each channel of each stage.

    The levels are averaged with learned weights, pooled over the tokens with learned attention, and a perceptron of one
    hidden layer gives for each stage ``gamma_raw`` and ``beta``. With the learned gate and the fixed strength s::

        gamma = 1 + tanh(gamma_raw * gate)
        f~    = (1 + s (gamma - 1)) f + s beta

    Args:
        stage_channels: C of each stage, ``network.stage_channels``.
        dim: D of the foundation model, ``vfm.D``.
        levels: Number of its maps, ``vfm.L``.
        strength: s; by default ``default_strength``.
        hidden: Width of the perceptron.
        zero_start: The last layer starts at 0, so that the teacher starts as the student (gamma 1, beta 0). The paper's
            code draws it at random.
        norm: Normalise every token over D, without parameters, before the levels are averaged, so that late blocks,
            whose tokens are longer, do not outweigh the others. The paper's code does not.

    Raises:
        ValueError: No stage, no level or a negative strength.
    """

    def __init__(
        self,
        stage_channels: Sequence[int],
        dim: int,
        *,
        levels: int,
        strength: float | None = None,
        hidden: int = 128,
        zero_start: bool = True,
        norm: bool = True,
    ) -> None:
        super().__init__()
        if not stage_channels or levels < 1:
            raise ValueError(f"SCAM needs stages and levels, got {tuple(stage_channels)} and {levels}")
        self.stage_channels = tuple(stage_channels)
        self.dim = dim
        self.strength = default_strength(len(self.stage_channels)) if strength is None else strength
        if self.strength < 0.0:
            raise ValueError(f"strength must be at least 0, got {self.strength}")
        self.norm = norm
        total = sum(self.stage_channels)
        self.layer_logits = nn.Parameter(torch.zeros(levels))
        self.attention = nn.Conv2d(dim, 1, 1)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, 2 * total))
        self.gate = nn.Parameter(torch.ones(total))
        if zero_start:
            last = self.mlp[2]
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, levels: Sequence[Tensor]) -> Modulation:
        """Gamma and beta of every stage.

        Args:
            levels: Maps [B, D, h, w] of the foundation model, all of one size.

        Raises:
            ValueError: Another number of levels or another D than those of the constructor.
        """
        if len(levels) != len(self.layer_logits) or any(level.shape[1] != self.dim for level in levels):
            raise ValueError(
                f"SCAM takes {len(self.layer_logits)} maps [B, {self.dim}, h, w], got "
                f"{[list(level.shape) for level in levels]}"
            )
        raw = self.mlp(self.pool(levels))
        modulation, start, gates = [], 0, torch.split(self.gate, list(self.stage_channels))
        for channels, gate in zip(self.stage_channels, gates, strict=True):
            gamma_raw, beta = raw[:, start : start + 2 * channels].split(channels, dim=1)
            modulation.append((1.0 + torch.tanh(gamma_raw * gate), beta))
            start += 2 * channels
        return modulation

    @property
    def is_idle(self) -> bool:
        """Whether its strength is 0: then it changes nothing, and need not be asked."""
        return self.strength <= _NEGLIGIBLE

    def pool(self, levels: Sequence[Tensor]) -> Tensor:
        """The vector g [B, D]: levels averaged with softmax weights, tokens averaged with softmax attention."""
        maps = [self._normed(level) for level in levels]
        weights = torch.softmax(self.layer_logits, dim=0)
        mixed = sum(weight * level for weight, level in zip(weights, maps, strict=True))
        assert isinstance(mixed, Tensor)
        attention = torch.softmax(self.attention(mixed).flatten(2), dim=2)
        return (mixed.flatten(2) * attention).sum(dim=2)

    def modulate(self, stages: Sequence[Tensor], modulation: Modulation) -> list[Tensor]:
        """Application ``post``: the stages [B, C, h, w] of a whole encoder, each with its gamma and beta.

        The next encoder stage has seen the unmodulated one; only the decoder sees what comes out of here.
        """
        if self.is_idle:
            return list(stages)
        return [
            affine_modulate(f, gamma, beta, strength=self.strength)
            for f, (gamma, beta) in zip(stages, modulation, strict=True)
        ]

    @contextmanager
    def in_encoder(self, network: nn.Module, names: Sequence[str], modulation: Modulation) -> Iterator[None]:
        """Application ``sequential``: inside, every stage of ``network.encode`` is modulated where it comes to be.

        Args:
            network: Whose encoder.
            names: Of ``stage_modules(network)``.
            modulation: Gamma and beta of every stage.
        """
        if self.is_idle:
            yield
            return

        def replaced(module: nn.Module, _: object, output: Tensor) -> Tensor:
            gamma, beta = of_module[module]
            return affine_modulate(output, gamma, beta, strength=self.strength)

        of_module = {network.get_submodule(n): m for n, m in zip(names, modulation, strict=True)}
        handles = [module.register_forward_hook(replaced) for module in of_module]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def regulariser(self) -> Tensor:
        """Mean |gate|. It pulls gamma towards 1; beta is not gated."""
        return self.gate.abs().mean()

    def _normed(self, level: Tensor) -> Tensor:
        if not self.norm:
            return level
        return F.layer_norm(level.movedim(1, -1), (self.dim,)).movedim(-1, 1)


def default_strength(stages: int) -> float:
    """0.55 for networks of up to three stages (MLCL-Net's), 0.12 for deeper ones (ALCL-Net's)."""
    return _STRENGTH_SHALLOW if stages <= _SHALLOW else _STRENGTH_DEEP


@torch.no_grad()
def stage_modules(network: DetectorNetwork) -> tuple[str, ...]:
    """Names of the modules whose outputs are the stages, found with one frame of noise; nothing is changed.

    Raises:
        ValueError: A stage is no module's output, so it cannot be modulated on its way: take application ``post``.
    """
    probe = copy.deepcopy(network).eval()
    made: list[tuple[str, Tensor]] = []

    def remember(name: str) -> None:
        def hook(module: nn.Module, _: object, output: object) -> None:
            if isinstance(output, Tensor):
                made.append((name, output))

        probe.get_submodule(name).register_forward_hook(hook)

    for name, _ in probe.named_modules():
        if name:
            remember(name)
    side = -(-_PROBE_SIDE // network.required_multiple) * network.required_multiple
    parameter = next(network.parameters())
    noise = torch.randn(1, network.in_channels, side, side, generator=torch.Generator().manual_seed(0))
    found = []
    for index, stage in enumerate(probe.encode(noise.to(parameter))):
        # The last module that hands a tensor on is the outermost one: later stages start behind it.
        names = [name for name, output in made if output is stage]
        if not names:
            raise ValueError(
                f"stage {index} of {type(network).__name__} is made outside of any module; sequential modulation "
                'cannot reach it, take application "post"'
            )
        found.append(names[-1])
    return tuple(found)
