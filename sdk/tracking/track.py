# SPDX-License-Identifier: Apache-2.0
"""What a tracker tells about a track, and about itself."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

__all__ = ["Track", "TrackState", "TrackerStats"]

TrackState = Literal["tentative", "confirmed", "coasting"]


@dataclass(frozen=True)
class Track:
    """One track at the time of one frame.

    Attributes:
        id: Number from 1, given when the track began and never again by the same tracker.
        state: ``tentative`` (not confirmed yet), ``confirmed`` (and detected in this frame) or ``coasting``
            (confirmed, and not detected in this frame).
        x: Filtered position in pixels, half-pixel convention like `Detections.xy`.
        y: The same.
        vx: Velocity in px/s; with a motion of the picture given, relative to the scene.
        vy: The same.
        sigma_px: Deviation of the position, the larger of both axes.
        age_s: Seconds since its first detection.
        coasted_s: Seconds since its last detection.
        hits: Frames in which it was detected.
    """

    id: int
    state: TrackState
    x: float
    y: float
    vx: float
    vy: float
    sigma_px: float
    age_s: float
    coasted_s: float
    hits: int

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, safe for JSON, rounded to 1e-4."""
        values = ((item.name, getattr(self, item.name)) for item in fields(self))
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in values}


@dataclass(frozen=True)
class TrackerStats:
    """Counts since the tracker was made. What is neither ``repeated``, ``late`` nor ``blind`` of the
    ``frames`` was looked at.

    Attributes:
        frames: Frames that were given.
        repeated: Frames with the time of the one before: labelled, but no evidence.
        late: Frames older than the newest by less than the coasting time: left out.
        blind: Frames with a picture that showed nothing new (``frozen``, ``ffc_suspected``): tracks coasted.
        guessed: Frames without a time, taken to follow at the last known interval.
        restarts: Times that all tracks were ended: the clock jumped back, or the frame size changed.
        started: Tracks begun, the tentative ones included.
        confirmed: Tracks confirmed.
        ended: Tracks ended, confirmed or not.
    """

    frames: int = 0
    repeated: int = 0
    late: int = 0
    blind: int = 0
    guessed: int = 0
    restarts: int = 0
    started: int = 0
    confirmed: int = 0
    ended: int = 0
