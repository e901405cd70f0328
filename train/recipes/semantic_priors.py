# SPDX-License-Identifier: Apache-2.0
"""Semantic priors: a teacher whose stages a foundation model modulates, and the same network without it as the student.

Source: arXiv 2605.14346. Teacher and student share all weights of the network; the network in the task is the student,
weights and statistics, so that what is exported is the plain network.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pitviper.core.models import DetectorNetwork
from pitviper.core.modules.scam import SCAM, Modulation, stage_modules
from pitviper.core.vfm import FrozenVFM
from pitviper.train.point_config import SemanticPriorsConfig
from pitviper.train.recipes.fdep import MainBranch, Unowned
from pitviper.train.recipes.points import per_image_loss
from pitviper.train.recipes.statistics import BranchStatistics, examine
from pitviper.train.recipes.supervised import require_crops

Outputs = OrderedDict[str, Tensor]

_TEMPERATURE = 4.0
_AROUND = 5


class SemanticPriorsTask(nn.Module):
    """The loss of one batch over both branches.

    Children: the network (the student), SCAM, and the teacher's statistics of the batch norms. The foundation model is
    none: it has no part in parameters, states, averages and copies.

    Args:
        network: Any detector network.
        vfm: Where the levels come from.
        config: Settings.
        frame_vfm: The same model for whole frames, which come again at each update of the labels; by default ``vfm``.

    Raises:
        ValueError: The crops do not fit the network, or "sequential" cannot reach a stage of it.
    """

    def __init__(
        self,
        network: DetectorNetwork,
        vfm: FrozenVFM,
        config: SemanticPriorsConfig,
        *,
        frame_vfm: FrozenVFM | None = None,
    ) -> None:
        super().__init__()
        require_crops(network, config)
        self.network = network
        self.config = config
        self.scam = SCAM(
            network.stage_channels,
            vfm.D,
            levels=vfm.L,
            strength=None if config.strength < 0.0 else config.strength,
            zero_start=bool(config.zero_start),
            norm=bool(config.level_norm),
        )
        # Without strength nothing of it learns, which DDP has to know, and the foundation model has nothing to say.
        self.scam.requires_grad_(not self.scam.is_idle)
        sequential = config.application == "sequential"
        self.stage_names = stage_modules(network) if sequential else ()
        # After the encoder only the decoder sees two distributions; within it every batch norm does.
        names = _all_norms(network) if sequential else examine(network).decoder_norms
        self.teacher_statistics = BranchStatistics(network, names if config.statistics == "separate" else ())
        self._vfm = Unowned(vfm)
        self._frame_vfm = Unowned(frame_vfm or vfm)

    @property
    def vfm(self) -> FrozenVFM:
        """The foundation model."""
        return self._vfm.module

    @contextmanager
    def whole_frames(self) -> Iterator[None]:
        """Inside, the features are those of ``frame_vfm``."""
        kept, self._vfm = self._vfm, self._frame_vfm
        try:
            yield
        finally:
            self._vfm = kept

    def forward(self, images: Tensor, masks: Tensor, weights: Tensor | None = None) -> dict[str, Tensor]:
        """Loss and its parts.

        Args:
            images: Standardised crops [B, C, S, S]; the foundation model sees the first plane of the same crop.
            masks: Labels [B, 1, S, S] in [0, 1].
            weights: Of the samples, [B]; by default 1.

        Returns:
            Scalars ``loss`` (with gradient), its parts ``teacher``, ``student`` and ``distillation`` before weighting,
            and ``gate``, what SCAM's gate adds.
        """
        teacher, student = self._decode_both(images)
        of_teacher, of_student = (per_image_loss(z, masks, self.config) for z in (teacher, student))
        distilled = self._distillation(student["final"].detach(), teacher["final"], masks)
        config = self.config
        idle = self.scam.is_idle
        gate = of_teacher.new_zeros(()) if idle else config.gate_weight * self.scam.regulariser()
        each = of_teacher + config.student_weight * of_student + config.distillation * distilled
        weighted = each if weights is None else weights * each
        return {
            "loss": weighted.mean() + gate,
            "teacher": of_teacher.mean().detach(),
            "student": of_student.mean().detach(),
            "distillation": distilled.mean().detach(),
            "gate": gate.detach(),
        }

    def inner_losses(self, images: Tensor, masks: Tensor) -> Tensor:
        """Lower objective of each sample alone, [B], in evaluation mode: no sample's loss depends on another."""
        with _evaluating(self):
            teacher, student = self._decode_both(images)
            config = self.config
            distilled = self._distillation(student["final"].detach(), teacher["final"], masks)
            losses = per_image_loss(teacher, masks, config) + config.distillation * distilled
            return losses + config.student_weight * per_image_loss(student, masks, config)

    def outer_loss(self, images: Tensor, masks: Tensor) -> Tensor:
        """Upper objective of a batch, in evaluation mode: the student's loss and its distance from the teacher."""
        with _evaluating(self):
            with torch.no_grad():
                teacher, _ = self._decode_both(images)
            student = self.network.decode(self.network.encode(images))
            distilled = self._distillation(student["final"], teacher["final"], masks)
            return (per_image_loss(student, masks, self.config) + distilled).mean()

    def encode_main(self, images: Tensor) -> list[Tensor]:
        """The teacher's stages of images [B, C, H, W]."""
        if self.stage_names:
            return self._encode_sequential(images)
        return self._modulated(self.network.encode(images), images)

    def decode_main(self, stages: list[Tensor]) -> Outputs:
        """Decode modulated stages with the teacher's statistics."""
        with self.teacher_statistics.in_use(self.network):
            return self.network.decode(stages)

    def main_branch(self) -> MainBranch:
        """The teacher as a network that can be evaluated; it shares everything with this task."""
        return MainBranch(self)

    def _decode_both(self, images: Tensor) -> tuple[Outputs, Outputs]:
        stages = self.network.encode(images)
        modulated = self._encode_sequential(images) if self.stage_names else self._modulated(stages, images)
        return self.decode_main(modulated), self.network.decode(stages)

    def _modulated(self, stages: list[Tensor], images: Tensor) -> list[Tensor]:
        return stages if self.scam.is_idle else self.scam.modulate(stages, self._modulation(images))

    def _encode_sequential(self, images: Tensor) -> list[Tensor]:
        if self.scam.is_idle:
            with self.teacher_statistics.in_use(self.network):
                return self.network.encode(images)
        modulation = self._modulation(images)
        with (
            self.teacher_statistics.in_use(self.network),
            self.scam.in_encoder(self.network, self.stage_names, modulation),
        ):
            return self.network.encode(images)

    def _modulation(self, images: Tensor) -> Modulation:
        dtype = next(self.scam.parameters()).dtype
        modulation: Modulation = self.scam([level.to(dtype) for level in self.vfm(images[:, :1])])
        return modulation

    def _distillation(self, student: Tensor, teacher: Tensor, masks: Tensor) -> Tensor:
        """Squared distance of the flattened probabilities, a mean over the region of each image, [B]."""
        z_s, z_t = (torch.sigmoid(z.float() / _TEMPERATURE) for z in (student, teacher))
        difference = (z_s - z_t).square()
        if self.config.distillation_region == "all":
            return self.config.distillation_scale * difference.mean(dim=(1, 2, 3))
        targets = torch.maximum((masks > 0.5).float(), (teacher.detach() > 0).float())
        region = F.max_pool2d(targets, _AROUND, stride=1, padding=_AROUND // 2)
        inside = (difference * region).sum(dim=(1, 2, 3)) / region.sum(dim=(1, 2, 3)).clamp(min=1.0)
        return self.config.distillation_scale * inside

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SemanticPriorsTask:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for vfm in (self._vfm.module, self._frame_vfm.module):
            vfm._apply(fn, recurse)
        return self


class _evaluating:
    """Inside, a task is in evaluation mode."""

    def __init__(self, task: nn.Module) -> None:
        self.task = task
        self.training = task.training

    def __enter__(self) -> None:
        self.task.eval()

    def __exit__(self, *error: object) -> None:
        self.task.train(self.training)


def _all_norms(network: nn.Module) -> tuple[str, ...]:
    norms = ((name, m) for name, m in network.named_modules() if isinstance(m, _BatchNorm))
    return tuple(name for name, norm in norms if norm.running_mean is not None)
