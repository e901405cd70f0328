# SPDX-License-Identifier: Apache-2.0
"""Which tracks of a recorded stream are believed to be targets, and which are known not to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from pitviper.core.points import Points
from pitviper.sdk.errors import InputError

__all__ = ["Believed", "TrackRule", "Trajectory", "believe"]

Believed = Literal["clicked", "moving", "refuted", "unknown"]

_LONGEST_GAP: Final = 10


@dataclass(frozen=True)
class TrackRule:
    """When a track that no click speaks of is taken for a target.

    Attributes:
        hits: Frames in which it was detected, at least.
        detected: Share of the frames of its life in which it was, at least.
        score: Median of its scores, at least.
        moves_px: Pixels between the means of its first and last third, at least: stuck pixels and corners stay.
        smooth_px: Largest deviation, as root mean square, from a path of second order in time; or a tenth of what it
            moves, where that is more.
        reach_px: A click so near speaks of a track.

    Raises:
        InputError: A value out of range.
    """

    hits: int = 25
    detected: float = 0.8
    score: float = 0.7
    moves_px: float = 8.0
    smooth_px: float = 2.0
    reach_px: float = 5.0

    def __post_init__(self) -> None:
        if self.hits < 3 or not 0 <= self.detected <= 1 or not 0 <= self.score <= 1:
            raise InputError(
                f"hits must be at least 3, detected and score in [0, 1], got {self.hits}, {self.detected} and "
                f"{self.score}"
            )
        if min(self.moves_px, self.smooth_px, self.reach_px) <= 0:
            raise InputError("moves_px, smooth_px and reach_px must be above 0")


@dataclass(frozen=True)
class Trajectory:
    """Detections of one confirmed track.

    Attributes:
        id: Of the track.
        frames: int [N], rising.
        xy: float64 [N, 2], (x, y) in pixels.
        score: float32 [N].
    """

    id: int
    frames: NDArray[np.int64]
    xy: NDArray[np.float64]
    score: NDArray[np.float32]

    def at(self, frame: int) -> NDArray[np.float64] | None:
        """(x, y) at a frame of its life, between two detections on the straight line between them.

        None outside its life, and inside a gap of more than 10 frames, where a straight line says little.
        """
        place = int(np.searchsorted(self.frames, frame))
        if place == len(self.frames):
            return None
        if self.frames[place] == frame:
            exact: NDArray[np.float64] = self.xy[place]
            return exact
        if place == 0 or self.frames[place] - self.frames[place - 1] > _LONGEST_GAP:
            return None
        before, after = self.frames[place - 1], self.frames[place]
        along = (frame - before) / (after - before)
        between: NDArray[np.float64] = (1 - along) * self.xy[place - 1] + along * self.xy[place]
        return between

    def detected_at(self, frame: int) -> bool:
        """Whether it was detected in a frame."""
        place = int(np.searchsorted(self.frames, frame))
        return place < len(self.frames) and bool(self.frames[place] == frame)


def believe(
    trajectories: Sequence[Trajectory], clicks: Mapping[int, Points], rule: TrackRule
) -> dict[int, Believed]:
    """What is believed of each track, by its id. Clicks decide wherever a track passes a frame that has a label.

    Args:
        trajectories: Of the stream.
        clicks: Points (row, column) [N, 2] by frame; an empty one says that the frame holds no target.
        rule: For tracks that pass no such frame.

    Returns:
        ``clicked``: every labelled frame that it passes has a click at it. ``refuted``: none has one.
        ``moving``: it passes none, and keeps the rule. ``unknown``: anything else, also when clicks contradict each
        other, as they do where a track went over from a target to a false object.
    """
    return {each.id: _believe(each, clicks, rule) for each in trajectories}


def _believe(each: Trajectory, clicks: Mapping[int, Points], rule: TrackRule) -> Believed:
    passed = [(each.at(frame), points) for frame, points in clicks.items()]
    hit = [_near(at, points, rule.reach_px) for at, points in passed if at is not None]
    if hit:
        return "clicked" if all(hit) else "unknown" if any(hit) else "refuted"
    return "moving" if _keeps(each, rule) else "unknown"


def _near(at: NDArray[np.float64], points: Points, reach_px: float) -> bool:
    centres = points[:, ::-1] + 0.5
    return bool(len(points)) and bool(np.hypot(*(centres - at).T).min() <= reach_px)


def _keeps(each: Trajectory, rule: TrackRule) -> bool:
    count = len(each.frames)
    life = int(each.frames[-1] - each.frames[0]) + 1
    if count < rule.hits or count / life < rule.detected or float(np.median(each.score)) < rule.score:
        return False
    third = count // 3
    moved = float(np.hypot(*(each.xy[-third:].mean(axis=0) - each.xy[:third].mean(axis=0))))
    time = (each.frames - each.frames[0]) / max(life - 1, 1)
    basis = np.stack([np.ones(count), time, time**2], axis=1)
    rest = each.xy - basis @ np.linalg.lstsq(basis, each.xy, rcond=None)[0]
    rough = float(np.sqrt(np.square(rest).sum(axis=1).mean()))
    return moved >= rule.moves_px and rough <= max(rule.smooth_px, 0.1 * moved)
