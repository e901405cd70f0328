# SPDX-License-Identifier: Apache-2.0
"""Detection by class of target; see ``characteristics`` for the classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitviper.core.metrics.characteristics import CLASSES, characterise
from pitviper.core.metrics.components import find_components, overlaps
from pitviper.core.metrics.profiles import Profile
from pitviper.core.metrics.target import match_targets


@dataclass(frozen=True)
class ClassResult:
    """The targets of one class in a set.

    Attributes:
        targets: True components.
        found: Matched ones.
        iou: Mean over the matched ones of the IoU of the two components, in [0, 1]; None where none is matched.
    """

    targets: int
    found: int
    iou: float | None

    @property
    def pd(self) -> float | None:
        """``found`` / ``targets``; None without any target."""
        return self.found / self.targets if self.targets else None

    def to_dict(self) -> dict[str, float | None]:
        """Plain JSON values."""
        return {"targets": self.targets, "found": self.found, "pd": self.pd, "iou": self.iou}


class ClassCounts:
    """Counts of matched targets by class, image by image."""

    def __init__(self) -> None:
        self._targets = dict.fromkeys(CLASSES, 0)
        self._ious: dict[str, list[float]] = {name: [] for name in CLASSES}

    def add(
        self,
        frame: NDArray[np.generic],
        predicted: NDArray[np.bool_],
        truth: NDArray[np.bool_],
        *,
        profile: Profile,
        distance: float,
    ) -> None:
        """Count one image.

        Args:
            frame: Raw values [H, W], from which the classes follow.
            predicted: bool [H, W].
            truth: bool [H, W].
            profile: By its rule components are matched.
            distance: Centroids less than this many pixels apart can match.
        """
        true = find_components(truth)
        if not len(true):
            return
        names = [each.name for each in characterise(frame, true)]
        for name in names:
            self._targets[name] += 1
        found = find_components(predicted)
        common = overlaps(true, found)
        for i, j in match_targets(true, found, profile, distance):
            union = true.area[i] + found.area[j] - common[i, j]
            self._ious[names[i]].append(float(common[i, j] / union))

    def results(self) -> dict[str, ClassResult]:
        """Of every class, also of one without targets."""
        return {
            name: ClassResult(self._targets[name], len(self._ious[name]), _mean(self._ious[name]))
            for name in CLASSES
        }


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
