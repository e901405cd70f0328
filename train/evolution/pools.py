# SPDX-License-Identifier: Apache-2.0
"""Frames that are trained with their pseudo-masks, and frames that wait: the state of the evolution."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pitviper.train.data.store import StoredFrame
from pitviper.train.evolution.mining import admit
from pitviper.train.evolution.update import LABEL_THRESHOLD, UpdateRule, update_label
from pitviper.train.points.initial import easy_mask
from pitviper.train.points.labels import point_mask
from pitviper.train.points.source import PointFrame
from pitviper.train.processes import Processes

PROTECT = ("points", "initial")

Predict = Callable[[NDArray[Any]], NDArray[np.float32]]
"""From a standardised frame [H, W] to its probability [H, W]."""


@dataclass(frozen=True)
class PoolRule:
    """How labels begin and change.

    Attributes:
        least_share: Share of a frame's points that must have an outline for it to be trained with from the
            start; below 0 all are.
        from_points: Begin with the points alone instead of their outlines, and with every frame, as LESPS does.
        protect: "points" stay target for ever, and everything else may shrink; "initial": the whole first mask does, as
            in the published code.
        soft: Train with the labels as they are, in [0, 1], instead of with what is above 0.5.
        update: Constants of the update.
    """

    least_share: float = 0.8
    from_points: bool = False
    protect: str = "points"
    soft: bool = False
    update: UpdateRule = field(default_factory=UpdateRule)

    def __post_init__(self) -> None:
        if self.protect not in PROTECT:
            raise ValueError(f"protect must be one of {', '.join(PROTECT)}, got {self.protect!r}")


class LabelPools:
    """Labels in half precision (steps of 1/2048 near 1, and finer below), never in 8 bits, in which decay would stop.

    Args:
        frames: With different names; a frame that is there twice is one, and is trained with twice.
        rule: How labels begin and change.
        later: Frames that ``join`` in the course of the run, and are neither trained with nor mined before.
        processes: Which share the predictions; each has all labels.

    Raises:
        ValueError: No frame is easy, so that training has nothing to begin with.
    """

    def __init__(
        self,
        frames: Sequence[PointFrame],
        rule: PoolRule,
        *,
        later: Sequence[PointFrame] = (),
        processes: Processes | None = None,
    ) -> None:
        self.rule = rule
        self.processes = processes or Processes()
        self.order = [each.frame.name for each in (*frames, *later)]
        self.frames = {each.frame.name: each for each in (*frames, *later)}
        self.later = {each.frame.name for each in later}
        self.labels: dict[str, NDArray[np.float16]] = {}
        self.protected: dict[str, NDArray[np.bool_]] = {}
        self._select_easy(set(self.frames) - self.later)
        if not any(len(self.frames[name].points) for name in self.labels):
            raise ValueError(
                f"there are outlines around the points of none of {len(self.frames)} frames (share {rule.least_share} "
                "of each frame's points), so training cannot begin; are the targets dark (--polarity), or the points "
                "beside them? --outline level finds more than edges, and a lower --least-share begins with less"
            )
        self._ready: list[StoredFrame] | None = None

    def join(self) -> None:
        """Treat the frames that were to join later as all others from now on: the easy ones are selected."""
        self._select_easy(self.later)
        self.later = set()
        self._ready = None

    def training_frames(self) -> list[StoredFrame]:
        """The selected frames with their labels, in the order of the data."""
        if self._ready is None:
            made = {name: self._with_label(name) for name in self.labels}
            self._ready = [made[name] for name in self.order if name in made]
        return self._ready

    def update(self, predict: Predict) -> None:
        """Let every label follow the prediction; all labels change, or none where a prediction fails."""
        names = [name for name in self.labels if len(self.frames[name].points)]

        def updated(name: str) -> NDArray[np.float16]:
            label, found = self.labels[name].astype(np.float32), predict(self.frames[name].frame.image)
            return update_label(label, found, self.protected[name], self.rule.update).astype(np.float16)

        self.labels |= dict(zip(names, self.processes.map(updated, names), strict=True))
        self._ready = None

    def mine(self, predict: Predict, *, allowed_misses: float) -> int:
        """Admit those of the waiting frames that the network sees well enough, and return their number."""
        waiting = [name for name in self.frames if name not in self.labels and name not in self.later]

        def seen(name: str) -> NDArray[np.bool_] | None:
            each = self.frames[name]
            return admit(predict(each.frame.image), each.points, allowed_misses=allowed_misses)

        masks = self.processes.map(seen, waiting)
        admitted = [(name, mask) for name, mask in zip(waiting, masks, strict=True) if mask is not None]
        for name, mask in admitted:
            self._select(name, mask)
        self._ready = None
        return len(admitted)

    def describe(self) -> dict[str, float]:
        """``selected`` and ``waiting`` frames, and what ``compare`` tells of the former, as a diagnosis."""
        waiting = len(self.frames) - len(self.labels) - len(self.later)
        return {"selected": len(self.labels), "waiting": waiting, **self.compare(self.labels)}

    def compare(self, names: Collection[str]) -> dict[str, float]:
        """Labels of these frames beside the truth, where there is one.

        ``label_iou`` is pooled over all their pixels, so that large targets decide it; ``label_niou`` is the mean of
        the frames with targets, and ``label_area`` their median of the label's area as a share of the truth's.
        """
        numbers: dict[str, float] = {}
        counts = []
        # In the order of the data, since a mean depends on it, and a resumed run tells the same numbers.
        for name, each in self.frames.items():
            truth = each.truth
            if name in names and truth is not None:
                mask = self.labels[name] > LABEL_THRESHOLD
                counts.append(((mask & truth).sum(), (mask | truth).sum(), mask.sum(), truth.sum()))
        common, union, area, true = np.array(counts, float).reshape(-1, 4).T
        if not union.any():
            return numbers
        numbers["label_iou"] = float(common.sum() / union.sum())
        if (with_target := true > 0).any():
            numbers["label_niou"] = float((common / np.maximum(union, 1))[with_target].mean())
            numbers["label_area"] = float(np.median((area / np.maximum(true, 1))[with_target]))
        return numbers

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that changes in a run, as tensors; frames are known by their place among the different ones."""
        state = {"later": torch.tensor(True)} if self.later else {}
        for index, name in enumerate(self.frames):
            if name in self.labels:
                state[f"label.{index}"] = torch.from_numpy(self.labels[name])
                if self.rule.protect == "initial":
                    state[f"protected.{index}"] = torch.from_numpy(self.protected[name])
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave.

        Raises:
            ValueError: It is of other frames.
        """
        names = list(self.frames)
        if "later" not in state:
            self.later = set()
        labels: dict[str, NDArray[np.float16]] = {}
        protected: dict[str, NDArray[np.bool_]] = {}
        for key, value in state.items():
            if key == "later":
                continue
            kind, _, index = key.partition(".")
            name = names[int(index)] if int(index) < len(names) else ""
            if not name or value.shape != self.frames[name].frame.mask.shape:
                raise ValueError(
                    f"the labels in the checkpoint are of other frames: {key} is {list(value.shape)}"
                )
            if kind == "label":
                labels[name] = value.numpy().copy()
            else:
                protected[name] = value.numpy().copy()
        self.labels = {name: labels[name] for name in names if name in labels}
        self.protected = {name: protected.get(name, self._points(name)) for name in self.labels}
        self._ready = None

    def _first_mask(self, each: PointFrame) -> NDArray[np.bool_] | None:
        shape = (each.frame.mask.shape[0], each.frame.mask.shape[1])
        if self.rule.from_points:
            return point_mask(each.points, shape)
        return easy_mask(each.found, each.points, least_share=self.rule.least_share)

    def _select_easy(self, names: Collection[str]) -> None:
        for name in self.frames:
            first = self._first_mask(self.frames[name]) if name in names else None
            if first is not None:
                self._select(name, first)

    def _select(self, name: str, mask: NDArray[np.bool_]) -> None:
        self.labels[name] = mask.astype(np.float16)
        self.protected[name] = mask if self.rule.protect == "initial" else self._points(name)

    def _points(self, name: str) -> NDArray[np.bool_]:
        each = self.frames[name]
        return point_mask(each.points, (each.frame.mask.shape[0], each.frame.mask.shape[1]))

    def _with_label(self, name: str) -> StoredFrame:
        label = self.labels[name]
        mask = label > LABEL_THRESHOLD
        targets = np.argwhere(mask).astype(np.int32)
        return replace(self.frames[name].frame, mask=label if self.rule.soft else mask, targets=targets)
