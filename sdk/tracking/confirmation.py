# SPDX-License-Identifier: Apache-2.0
"""M-of-N confirmation: how many detections make a track, and how often chance does."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pitviper.sdk.arguments import is_whole, require_number
from pitviper.sdk.errors import InputError
from pitviper.sdk.tracking import kalman
from pitviper.sdk.tracking.association import gate_distance, log_ratio

__all__ = ["Confirmation", "false_track_probability"]


@dataclass(frozen=True)
class Confirmation:
    """M detections within N frames, the first one included (Bar-Shalom and Li, *Multitarget-Multisensor Tracking*,
    1995, section 3.3). Frames are counted and not seconds, because it is looks at the scene that give evidence.

    Raises:
        InputError: Not 1 <= M <= N.
    """

    hits: int = 3
    frames: int = 5

    def __post_init__(self) -> None:
        whole = is_whole(self.hits) and is_whole(self.frames)
        if not whole or not 1 <= self.hits <= self.frames:
            raise InputError(
                f"confirm must be whole numbers (M, N) with 1 <= M <= N: M detections in N frames, got "
                f"{(self.hits, self.frames)}"
            )

    @classmethod
    def of(cls, confirm: tuple[int, int]) -> Confirmation:
        """The rule of a pair (M, N)."""
        if not (isinstance(confirm, (tuple, list)) and len(confirm) == 2):
            raise InputError(f"confirm must be a pair (M, N): M detections in N frames, got {confirm!r}")
        return cls(*confirm)

    def reached(self, hits: int) -> bool:
        """Whether so many hits confirm."""
        return hits >= self.hits

    def hopeless(self, hits: int, looks: int) -> bool:
        """Whether a track with so many hits in so many frames can no longer be confirmed."""
        return hits + (self.frames - looks) < self.hits


def false_track_probability(
    false_alarms_per_mpix: float,
    period_s: float,
    *,
    model: kalman.MotionModel | None = None,
    confirm: tuple[int, int] = (3, 5),
    gate_probability: float = 0.999,
    clutter_per_mpix: float = 10.0,
) -> float:
    """Probability that one false alarm grows into a confirmed track by more false alarms alone.

    Exact for false alarms that are independent from frame to frame, evenly spread (Poisson) and rare enough for two
    tentative tracks not to compete. The covariances of a Kalman filter do not depend on what is measured, so each
    sequence of hits and misses has gates of known area, and the probability is the sum over the sequences. False alarms
    that come again at one place (a hot rock, a stuck pixel) are not independent, and no M of N removes those.

    Args:
        false_alarms_per_mpix: Mean number per frame and million pixels.
        period_s: Time between frames.
        model: As of the `Tracker`, and so are the other arguments.
        confirm: M and N.
        gate_probability: Of the Mahalanobis gate.
        clutter_per_mpix: The density that the tracker reckons with.

    Returns:
        A probability; its inverse is the factor by which confirmation thins false alarms out.

    Raises:
        InputError: A value out of range.
    """
    require_number("false_alarms_per_mpix", false_alarms_per_mpix, least=0)
    require_number("period_s", period_s, above=0, unit="seconds")
    rule, moves = Confirmation.of(confirm), model or kalman.MotionModel()
    gate, clutter = gate_distance(gate_probability), clutter_per_mpix * 1e-6

    def grown(mean: kalman.Array, covariance: kalman.Array, hits: int, looks: int) -> float:
        if rule.reached(hits):
            return 1.0
        if rule.hopeless(hits, looks):
            return 0.0
        mean, covariance = kalman.predict(mean, covariance, period_s, moves)
        spread = kalman.innovation(covariance, moves)
        reach = min(gate, 2 * float(log_ratio(spread, clutter)[0]))
        area = math.pi * max(reach, 0.0) * math.sqrt(np.linalg.det(spread[0]))
        met = -math.expm1(-false_alarms_per_mpix * 1e-6 * area)
        corrected = kalman.correct(mean, covariance, mean[:, :2], moves)
        return met * grown(*corrected, hits + 1, looks + 1) + (1 - met) * grown(
            mean, covariance, hits, looks + 1
        )

    return grown(*kalman.start(np.zeros((1, 2)), moves), 1, 1)
