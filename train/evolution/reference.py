# SPDX-License-Identifier: Apache-2.0
"""The upper steps of ``sp_reference``: those of the published code, its errors included, for comparison only."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from pitviper.train.bilevel import cluster_weights, gradients
from pitviper.train.epoch import learning_rate, progress
from pitviper.train.evolution.pools import LabelPools, Predict
from pitviper.train.evolution.reweighting import Weighting, number_of, repeatable
from pitviper.train.loop import TrainingRun
from pitviper.train.point_config import SPReferenceConfig
from pitviper.train.recipes.sp_reference import SPReferenceTask
from pitviper.train.reference_bilevel import SharedParameters, reference_gradient
from pitviper.train.step import unwrapped


class ReferenceReweighting(Weighting):
    """Cluster parameters in one optimiser with the student, and upper frames whose labels follow the teacher too.

    Args:
        config: Settings.
        clusters: Cluster of each frame, those of the upper level among them, by its name.
        upper: Labels of the upper level.
    """

    def __init__(self, config: SPReferenceConfig, clusters: Mapping[str, int], upper: LabelPools) -> None:
        self.shared = SharedParameters(
            number_of(clusters), lr=config.outer_lr, weight_decay=config.weight_decay
        )
        super().__init__(config, clusters, self.shared)
        self.upper = upper

    def follow(self, predict: Predict) -> None:
        """Update the labels of the upper frames."""
        self.upper.update(predict)

    def state_dict(self) -> dict[str, Tensor]:
        """Alpha, the moments of the optimiser, and the labels of the upper frames."""
        labels = {f"upper.{key}": value for key, value in self.upper.state_dict().items()}
        return {**super().state_dict(), **labels}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave."""
        labels = {key: value for key, value in state.items() if key.startswith("upper.")}
        super().load_state_dict({key: value for key, value in state.items() if key not in labels})
        self.upper.load_state_dict({key.removeprefix("upper."): value for key, value in labels.items()})

    def _step(self, run: TrainingRun, pools: LabelPools, number: int) -> float:
        task = unwrapped(run.task)
        assert isinstance(task, SPReferenceTask)
        config, device = self.config, run.fabric.device
        draw = run.epoch * config.bilevel_steps + number
        student, alpha = list(task.network.parameters()), self.shared.alpha
        found, value = [], 0.0
        with repeatable(run.config.seed, draw):
            for level, frames in enumerate((self.upper.training_frames(), pools.training_frames())):
                names, images, masks = self._batch(run, frames, 2 * draw + level)
                weights = cluster_weights(alpha.to(device), self.ids(names).to(device))
                loss = (weights * task.outer_losses(images.to(device), masks.to(device))).mean()
                found.append(gradients(loss, [*student, alpha]))
                value = value if level else float(loss.detach())
        rate = learning_rate(config, progress(run, 1.0))
        self.shared.step(student, reference_gradient(found[0], found[1], student=len(student), rate=rate))
        return value
