# SPDX-License-Identifier: Apache-2.0
"""The companion of a run that learns from points: labels that evolve, and weights of clusters where there are any."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from pitviper.core.models import DetectorNetwork
from pitviper.train.data.store import StoredFrame
from pitviper.train.evolution.phases import Phases
from pitviper.train.evolution.pools import LabelPools, Predict
from pitviper.train.evolution.reweighting import Weighting
from pitviper.train.evolution.snapshots import Snapshots
from pitviper.train.loop import TrainingRun
from pitviper.train.validate import predict_standardised


class Course:
    """Labels, phases and weights of a run, as ``loop.Companion``.

    Args:
        pools: Labels of the frames that are trained.
        phases: When they change.
        facts: What labels and clusters depend on beside the settings.
        start_loss: Update only after an epoch whose mean loss was below it.
        reweighting: Weights of clusters of the frames.
    """

    def __init__(
        self,
        pools: LabelPools,
        phases: Phases,
        *,
        facts: dict[str, Any],
        start_loss: float = float("inf"),
        reweighting: Weighting | None = None,
    ) -> None:
        self.pools = pools
        self.phases = phases
        self.facts = facts
        self.start_loss = start_loss
        self.reweighting = reweighting
        self.snapshots = Snapshots(list(pools.frames.values()))

    def frames(self, run: TrainingRun) -> Sequence[StoredFrame]:
        """The selected frames; where an epoch begins and it is due, after an update of labels and mining.

        Labels follow the averaged teacher. A run that goes on inside an epoch has the labels of its checkpoint.
        """
        if run.step == 0 and run.epoch == 0:
            self.snapshots.take(0, self.pools)
        if self.pools.later and not self.phases.holds_back(run.epoch):
            self.pools.join()
            self._say("the frames of the upper level join the training")
        if run.step == 0 and self.phases.updates(run.epoch) and self._has_begun(run):
            # Each process has running statistics of its own, which the average holds too.
            self.pools.processes.take_over(run.average)
            with averaged_teacher(run) as predict:
                self.pools.update(predict)
                if self.reweighting:
                    self.reweighting.follow(predict)
                admitted = 0
                if self.phases.mines(run.epoch):
                    allowed = self.phases.allowed_misses(run.epoch)
                    admitted = self.pools.mine(predict, allowed_misses=allowed)
            self.snapshots.take(run.epoch, self.pools)
            numbers = self.pools.describe()
            self._say(
                f"labels updated, {admitted} frames admitted: {numbers['selected']:.0f} are trained with, "
                f"{numbers['waiting']:.0f} wait"
            )
        return self.pools.training_frames()

    def extra(self, names: Sequence[str]) -> dict[str, Tensor]:
        """``weights`` of the samples, where clusters have any."""
        return {"weights": self.reweighting.weights(names)} if self.reweighting else {}

    def after_epoch(self, run: TrainingRun) -> dict[str, Any]:
        """Upper steps where an interval ends; the state of the pools and the weights, for the history."""
        numbers: dict[str, Any] = self.pools.describe()
        if self.reweighting:
            numbers |= self.reweighting.after_epoch(
                run,
                due=self.phases.is_interval(run.epoch) and self.phases.holds_back(run.epoch),
                pools=self.pools,
            )
        return numbers

    def state_dict(self) -> dict[str, Tensor]:
        """Labels, what was looked at of them, cluster parameters and their optimiser."""
        state = {f"pools.{key}": value for key, value in self.pools.state_dict().items()}
        state |= {f"snapshots.{key}": value for key, value in self.snapshots.state_dict().items()}
        if self.reweighting:
            state |= {f"clusters.{k}": v for k, v in self.reweighting.state_dict().items()}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave."""
        self.pools.load_state_dict(_below(state, "pools."))
        self.snapshots.load_state_dict(_below(state, "snapshots."))
        if self.reweighting:
            self.reweighting.load_state_dict(_below(state, "clusters."))

    def _say(self, text: str) -> None:
        if self.pools.processes.is_first:
            print(f"  {text}", file=sys.stderr, flush=True)

    def _has_begun(self, run: TrainingRun) -> bool:
        return bool(run.history) and run.history[-1]["loss"] < self.start_loss


@contextmanager
def averaged_teacher(run: TrainingRun) -> Iterator[Predict]:
    """The averaged teacher of a run as a function from frames to probabilities; its mode comes back.

    It predicts in the precision that the run trains in.
    """
    task = run.average.module
    training = task.training
    task.eval()
    network = teacher_of(task)
    network.eval()

    def predict(image: NDArray[Any]) -> NDArray[np.float32]:
        with run.fabric.autocast():
            return predict_standardised(network, image)

    try:
        with getattr(task, "whole_frames", nullcontext)():
            yield predict
    finally:
        task.train(training)


def teacher_of(task: nn.Module) -> DetectorNetwork:
    """The main branch of a task that has one, else its network."""
    main = getattr(task, "main_branch", None)
    network = task.network if main is None else main()
    assert isinstance(network, DetectorNetwork)
    return network


def _below(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
