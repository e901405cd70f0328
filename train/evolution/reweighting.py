# SPDX-License-Identifier: Apache-2.0
"""Weights of clusters of frames, learned at intervals on frames that the lower level does not see."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from pitviper.train.bilevel import ClusterParameters, gradients, hypergradient
from pitviper.train.data.crops import CropDataset
from pitviper.train.data.store import StoredFrame
from pitviper.train.epoch import learning_rate, progress
from pitviper.train.evolution.pools import LabelPools, Predict
from pitviper.train.loop import TrainingRun
from pitviper.train.point_config import SemanticPriorsConfig
from pitviper.train.recipes.semantic_priors import SemanticPriorsTask
from pitviper.train.state import Stateful
from pitviper.train.step import unwrapped

# Crops of the upper steps come from their own stream, apart from those that are trained with.
_STREAM = 7919


class Parameters(Stateful, Protocol):
    """Alpha, one number a cluster, with its optimiser."""

    alpha: Tensor

    def weights(self, clusters: Tensor) -> Tensor:
        """Weights [B] of a batch by its clusters, without gradient."""


class Weighting(ABC):
    """Cluster parameters and the upper steps that change them.

    Args:
        config: Settings; ``bilevel`` is not "none".
        clusters: Cluster of each frame by its name.
        parameters: Of the clusters.
    """

    def __init__(
        self, config: SemanticPriorsConfig, clusters: Mapping[str, int], parameters: Parameters
    ) -> None:
        self.config = config
        self.clusters = dict(clusters)
        self.parameters = parameters
        self.seconds = 0.0

    def weights(self, names: Sequence[str]) -> Tensor:
        """Of a batch of crops of these frames, [B]."""
        return self.parameters.weights(self.ids(names))

    def ids(self, names: Sequence[str]) -> Tensor:
        """Clusters of these frames, int64 [B]."""
        return torch.tensor([self.clusters[name] for name in names])

    def after_epoch(self, run: TrainingRun, *, due: bool, pools: LabelPools) -> dict[str, Any]:
        """The upper steps, where they are due, with what they cost on stderr.

        Returns:
            ``upper_loss``, the mean over the steps, where they were due, and ``weights`` as they would be in a batch
            with one sample of each cluster.
        """
        numbers: dict[str, Any] = {}
        if due:
            started = time.perf_counter()
            losses = self._steps(run, pools)
            seconds = time.perf_counter() - started
            self.seconds += seconds
            numbers["upper_loss"] = float(np.mean(losses))
            if pools.processes.is_first:
                print(
                    f"  {len(losses)} upper steps ({self.config.bilevel}) in {seconds:.1f} s, {self.seconds:.1f} s "
                    "since the run was started or resumed",
                    file=sys.stderr,
                    flush=True,
                )
        every = self.parameters.weights(torch.arange(len(self.parameters.alpha)))
        return {**numbers, "weights": [round(float(weight), 5) for weight in every]}

    def _steps(self, run: TrainingRun, pools: LabelPools) -> list[float]:
        """Losses of the upper steps, which the first process takes; the others get the weights that it ends with."""
        steps, processes = range(self.config.bilevel_steps), pools.processes
        losses = processes.of_first(lambda: [self._step(run, pools, number) for number in steps])
        if processes.count > 1:
            processes.take_over(unwrapped(run.task))
            self.load_state_dict(processes.of_first(self.state_dict))
        return losses

    def follow(self, predict: Predict) -> None:
        """Called at each update of the labels, with the averaged teacher; those of the upper level stay as they are."""
        del predict

    def state_dict(self) -> dict[str, Tensor]:
        """What changes in a run."""
        return dict(self.parameters.state_dict())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave."""
        self.parameters.load_state_dict(state)

    @abstractmethod
    def _step(self, run: TrainingRun, pools: LabelPools, number: int) -> float:
        """One upper step, ``number`` of those after this epoch; returns its loss."""

    def _batch(
        self, run: TrainingRun, frames: Sequence[StoredFrame], draw: int
    ) -> tuple[tuple[str, ...], Tensor, Tensor]:
        config = self.config
        rng = np.random.default_rng((config.seed, _STREAM, draw))
        chosen = rng.permutation(len(frames))[: config.batch]
        crops = CropDataset(
            frames,
            size=config.crop_at(run.epoch),
            target_share=config.target_share,
            augmentation=config.augmentation_at(run.epoch),
            seed=config.seed + _STREAM,
        )
        pairs = [crops[draw, int(index)] for index in chosen]
        names = tuple(frames[index].name for index in chosen)
        return names, torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])


class Reweighting(Weighting):
    """Cluster parameters that go against the derivative of the upper loss.

    Args:
        config: Settings; ``bilevel`` is "unrolled" or "gn".
        clusters: Cluster of each frame by its name.
        upper: Frames of the upper level with fixed labels.
    """

    def __init__(
        self, config: SemanticPriorsConfig, clusters: Mapping[str, int], upper: Sequence[StoredFrame]
    ) -> None:
        self.learned = ClusterParameters(number_of(clusters), lr=config.alpha_lr)
        super().__init__(config, clusters, self.learned)
        self.upper = list(upper)

    def _step(self, run: TrainingRun, pools: LabelPools, number: int) -> float:
        """One step of the cluster parameters, and the student's own on the same upper batch."""
        task = unwrapped(run.task)
        assert isinstance(task, SemanticPriorsTask)
        config, device = self.config, run.fabric.device
        draw = run.epoch * config.bilevel_steps + number
        upper = self._batch(run, self.upper, 2 * draw)
        lower = self._batch(run, pools.training_frames(), 2 * draw + 1)
        weights = [p for p in task.parameters() if p.requires_grad]
        upper_images, upper_masks = upper[1].to(device), upper[2].to(device)
        images, masks = lower[1].to(device), lower[2].to(device)
        with repeatable(run.config.seed, draw):
            loss = task.outer_loss(upper_images, upper_masks)
            outer = gradients(loss, weights)
            gradient = hypergradient(
                config.bilevel,
                self.learned.alpha.to(device),
                self.ids(lower[0]).to(device),
                inner=lambda: task.inner_losses(images, masks),
                outer=outer,
                weights=weights,
                rate=learning_rate(config, progress(run, 1.0)),
            )
        self.learned.step(gradient.cpu())
        if config.outer_lr > 0.0:
            _descend(weights, outer, rate=config.outer_lr, clip=config.clip)
        return float(loss.detach())


def number_of(clusters: Mapping[str, int]) -> int:
    """K of the clusters of frames by name."""
    return max(clusters.values()) + 1


def _descend(weights: Sequence[Tensor], gradient: Sequence[Tensor], *, rate: float, clip: float) -> None:
    """A plain step against a gradient, whose norm is clipped."""
    for weight, part in zip(weights, gradient, strict=True):
        weight.grad = part
    clip_grad_norm_(list(weights), clip)
    with torch.no_grad():
        for weight in weights:
            assert weight.grad is not None
            weight -= rate * weight.grad
            weight.grad = None


@contextmanager
def repeatable(seed: int, draw: int) -> Iterator[None]:
    """What is random inside depends on the seed and the step alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence((seed, _STREAM, draw)).generate_state(1)[0]))
        yield
