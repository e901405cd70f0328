# SPDX-License-Identifier: Apache-2.0
"""Semantic priors as the published code of arXiv 2605.14346 trains them, for comparison only.

Written from a description of its behaviour. Both branches run the whole network in training mode, so that one set of
statistics is updated by both; the student's pass has no gradient, so that only the upper steps train it.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor

from pitviper.train.recipes.points import per_image_loss
from pitviper.train.recipes.semantic_priors import SemanticPriorsTask

Outputs = OrderedDict[str, Tensor]


class SPReferenceTask(SemanticPriorsTask):
    """The loss of one batch of ``sp_reference``; in evaluation it is a ``SemanticPriorsTask``."""

    def outer_losses(self, images: Tensor, masks: Tensor) -> Tensor:
        """Upper objective of each sample of a batch, [B], before the weights of the clusters.

        In training mode, as published: statistics of the batch norms move with both passes.
        """
        with torch.no_grad():
            teacher = self.decode_main(self.encode_main(images))
        student = self.network.decode(self.network.encode(images))
        distilled = self._distillation(student["final"], teacher["final"], masks)
        return per_image_loss(student, masks, self.config) + distilled

    def _decode_both(self, images: Tensor) -> tuple[Outputs, Outputs]:
        teacher = self.decode_main(self.encode_main(images))
        with torch.no_grad():
            student = self.network.decode(self.network.encode(images))
        return teacher, student
