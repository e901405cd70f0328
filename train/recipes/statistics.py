# SPDX-License-Identifier: Apache-2.0
"""A second set of batch-norm statistics for a decoder that sees two distributions, with the affine part shared."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pitviper.core.models import DetectorNetwork

_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")
_PROBE_SIDE = 64


@dataclass(frozen=True)
class Attachment:
    """What a network says of itself when a frame passes.

    Attributes:
        decoder_norms: Names of the batch norms with running statistics that ``decode`` runs, heads for deep
            supervision included.
        rectified: Whether the bottleneck comes out of a ReLU, so that no value of it is negative.
    """

    decoder_norms: tuple[str, ...]
    rectified: bool


@torch.no_grad()
def examine(network: DetectorNetwork) -> Attachment:
    """Find the attachment of any network with one frame of noise; the network and torch's generator stay untouched."""
    probe = copy.deepcopy(network).train()
    norms = {name: m for name, m in probe.named_modules() if isinstance(m, _BatchNorm)}
    used: list[nn.Module] = []

    def remember(module: nn.Module, *_: Any) -> None:
        used.append(module)

    for norm in norms.values():
        norm.eval()
    side = -(-_PROBE_SIDE // network.required_multiple) * network.required_multiple
    parameter = next(network.parameters())
    noise = torch.randn(1, network.in_channels, side, side, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        stages = probe.encode(noise.to(parameter))
        for norm in norms.values():
            norm.register_forward_hook(remember)
        probe.decode(stages)
    found = tuple(name for name, m in norms.items() if m.running_mean is not None and m in used)
    return Attachment(found, bool(stages[network.bottleneck_index].min() >= 0))


class BranchStatistics(nn.Module):
    """Running mean, variance and count of one branch, for some batch norms of a network.

    They start as copies of the network's. ``in_use`` lends them to the network; its own wait meanwhile.

    Args:
        network: Whose batch norms.
        names: Their names in the network; none for statistics that are the network's own.
    """

    def __init__(self, network: nn.Module, names: Iterable[str]) -> None:
        super().__init__()
        # Module names hold dots, which keys of a ModuleDict may not.
        self.sets = nn.ModuleDict({name.replace(".", "-"): nn.Module() for name in names})
        for norm, own in self._pairs(network):
            for key in _BUFFERS:
                own.register_buffer(key, norm.get_buffer(key).clone())

    @contextmanager
    def in_use(self, network: nn.Module) -> Iterator[None]:
        """Inside, the network's batch norms read and update these statistics."""
        self._exchange(network)
        try:
            yield
        finally:
            self._exchange(network)

    def _exchange(self, network: nn.Module) -> None:
        for norm, own in self._pairs(network):
            for key in _BUFFERS:
                norm._buffers[key], own._buffers[key] = own._buffers[key], norm._buffers[key]

    def _pairs(self, network: nn.Module) -> Iterator[tuple[nn.Module, nn.Module]]:
        for key, own in self.sets.items():
            yield network.get_submodule(key.replace("-", ".")), own
