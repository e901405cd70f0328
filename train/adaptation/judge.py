# SPDX-License-Identifier: Apache-2.0
"""Judging a detector by clicks: which points it finds, and what it finds where nobody clicked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitviper.core.metrics.components import Components, find_components
from pitviper.core.points import PointLabels, Points

REACH_PX = 3.0
"""A point is found by an object that covers it, or whose centroid is nearer than this, as in the metrics."""

_EXACT = 14
_DRAWS = 20_000

Read = Callable[[str], NDArray[Any]]
Predict = Callable[[NDArray[Any]], NDArray[np.float32]]


@dataclass(frozen=True)
class Judged:
    """One frame.

    Attributes:
        found: bool [N], by point.
        false_objects: bool [H, W], objects at which there is no point.
        objects: bool [H, W], all of them.
        false_count: How many objects have no point.
    """

    found: NDArray[np.bool_]
    objects: NDArray[np.bool_]
    false_objects: NDArray[np.bool_]
    false_count: int


@dataclass(frozen=True)
class Score:
    """Frames that judge, in all. ``pd`` is None without points."""

    frames: int
    points: int
    found: int
    false_objects: int

    @property
    def pd(self) -> float | None:
        """Share of the points that were found."""
        return self.found / self.points if self.points else None

    @property
    def false_objects_per_frame(self) -> float:
        """Objects at which nobody clicked."""
        return self.false_objects / max(self.frames, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, safe for JSON."""
        return {
            "frames": self.frames,
            "points": self.points,
            "found": self.found,
            "pd": self.pd,
            "false_objects": self.false_objects,
            "false_objects_per_frame": self.false_objects_per_frame,
        }


def judge_frames(predict: Predict, read: Read, labels: PointLabels, *, threshold: float) -> dict[str, Judged]:
    """Judge each labelled frame; ``predict`` takes a raw frame [H, W] to its probability [H, W]."""
    return {
        name: judge(predict(read(name)) > np.float32(threshold), points) for name, points in labels.items()
    }


def judge(objects: NDArray[np.bool_], points: Points) -> Judged:
    """Judge what was found [H, W] by the points (row, column) [N, 2] of its frame."""
    components = find_components(objects)
    belongs = at_points(components, points)
    found: NDArray[np.bool_] = np.asarray(belongs.any(axis=1))
    stray: NDArray[np.bool_] = np.asarray(~belongs.any(axis=0))
    return Judged(found, objects, components.mask(stray), int(stray.sum()))


def at_points(components: Components, points: Points) -> NDArray[np.bool_]:
    """Which component is at which point, bool [N, K]: it covers the point, or its centroid is near."""
    if not len(points) or not len(components):
        return np.zeros((len(points), len(components)), np.bool_)
    difference = components.centroid_yx[None] - points[:, None]
    near: NDArray[np.bool_] = np.hypot(difference[..., 0], difference[..., 1]) < REACH_PX
    owner = np.full(components.shape, -1, np.int64)
    owner.reshape(-1)[components.pixels] = components.labels
    covering = owner[points[:, 0], points[:, 1]]
    near[covering >= 0, covering[covering >= 0]] = True
    return near


def total(judged: Mapping[str, Judged]) -> Score:
    """All frames together."""
    values = judged.values()
    return Score(
        frames=len(judged),
        points=sum(len(each.found) for each in values),
        found=sum(int(each.found.sum()) for each in values),
        false_objects=sum(each.false_count for each in values),
    )


def by_chance(worse: NDArray[np.int64]) -> float:
    """How often chance alone would make it this much worse: sign flips of the differences of frames, one-sided.

    Under the hypothesis that before and after are alike, the sign of each frame's difference is a coin's. All signs are
    gone through for up to 14 frames that differ, else 20,000 seeded draws.

    Args:
        worse: By how much each frame got worse; negative where it got better.
    """
    differing = worse[worse != 0]
    seen = int(differing.sum())
    if seen <= 0:
        return 1.0
    count = len(differing)
    if count <= _EXACT:
        signs = 1 - 2 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
        return float((signs @ differing >= seen).mean())
    signs = np.random.default_rng(0).choice((-1, 1), size=(_DRAWS, count))
    return float((1 + (signs @ differing >= seen).sum()) / (_DRAWS + 1))
