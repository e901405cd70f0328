# SPDX-License-Identifier: Apache-2.0
"""The time between two frames, and what is done when a frame has none or brings an impossible one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pitviper.sdk.arguments import require_number
from pitviper.sdk.errors import InputError

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections

__all__ = ["Clock", "ClockName", "Step"]

ClockName = Literal["sensor", "host"]
StepKind = Literal["first", "forward", "repeated", "late", "restart"]


@dataclass(frozen=True)
class Step:
    """What a frame's time means.

    ``kind``: ``first`` frame, ``forward``, ``repeated`` (the time of the newest frame), ``late`` (a frame from shortly
    before it) or ``restart`` (the clock jumped back). ``seconds`` since the newest frame, 0 where that is not defined.
    ``guessed``: the frame had no time.
    """

    kind: StepKind
    seconds: float = 0.0
    guessed: bool = False


class Clock:
    """Reads the times of frames, in seconds.

    Args:
        source: ``sensor``, ``host``, or frames per second to count frame numbers by.
        patience_s: A frame that is older than the newest by more than this starts a new time.

    Raises:
        InputError: No such clock.
    """

    def __init__(self, source: ClockName | float, patience_s: float) -> None:
        if source not in ("sensor", "host"):
            require_number("clock", source, above=0, unit="(frames per second), 'sensor' or 'host'")
        self._source = source
        self._patience_s = patience_s
        self.forget()

    def forget(self) -> None:
        """Begin anew: the next frame is the first."""
        self._newest: float | None = None
        self._period: float | None = None
        self._given: bool | None = None

    @property
    def now_s(self) -> float:
        """Time of the newest frame in seconds; 0 before the first."""
        return self._newest or 0.0

    def step(self, detections: Detections, time_s: float | None = None) -> Step:
        """Go on to the time of a frame.

        Args:
            detections: The frame's result, with its times and number.
            time_s: The frame's time in seconds, which goes before all others.

        Raises:
            InputError: The first frame has no time, a time is not finite, only some calls give `time_s`, or a clock
                that counts frames is given number 0 twice.
        """
        if time_s is not None and not math.isfinite(time_s):
            raise InputError(f"time_s must be a finite number of seconds, got {time_s!r}")
        if self._given is not None and self._given != (time_s is not None):
            raise InputError("time_s was given for some frames and not for others; give it always or never")
        now = float(time_s) if time_s is not None else self._read(detections)
        guessed = now is None
        if now is None:
            if self._newest is None or self._period is None:
                raise InputError(self._no_time())
            now = self._newest + self._period
        self._given = time_s is not None
        return self._placed(now, guessed)

    def _placed(self, now: float, guessed: bool) -> Step:
        if self._newest is None:
            self._newest = now
            return Step("first", guessed=guessed)
        seconds = now - self._newest
        if seconds == 0:
            if now == 0 and not isinstance(self._source, str) and not self._given:
                raise InputError(
                    f"two frames in a row are numbered 0, as all results of detect() are, so clock={self._source:g} "
                    "sees no time pass; give update(..., time_s=...), or number them: dataclasses.replace(found, "
                    "frame_id=n)"
                )
            return Step("repeated")
        if seconds < 0:
            if -seconds <= self._patience_s:
                return Step("late", seconds)
            self._newest, self._period = now, None
            return Step("restart")
        self._newest = now
        if not guessed:
            self._period = seconds
        return Step("forward", seconds, guessed)

    def _read(self, detections: Detections) -> float | None:
        if not isinstance(self._source, str):
            return detections.frame_id / self._source
        stamp = getattr(detections.time, f"{self._source}_ns", None)
        return None if stamp is None else stamp / 1e9

    def _no_time(self) -> str:
        return (
            f"the frames carry no {self._source} time, so no speed can be computed. Results of detect(): "
            "update(..., time_s=...). A stream: Tracker(clock=25.0), or --fps 25, the frames per second of the "
            "recording, or Tracker(clock='host') for a live camera"
        )
