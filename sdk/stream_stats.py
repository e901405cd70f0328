# SPDX-License-Identifier: Apache-2.0
"""What a stream counted and measured, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike

from pitviper.sdk.detections import Timing

if TYPE_CHECKING:
    from pitviper.sdk.sinks.counts import OutputStats

__all__ = ["Spread", "StageWindow", "StreamStats"]

_STAGES: Final = ("wait_ms", "standardise_ms", "network_ms", "extract_ms", "total_ms", "age_ms")


@dataclass(frozen=True)
class Spread:
    """Median, 90th and 99th percentile and maximum of some times in milliseconds."""

    median: float
    p90: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: ArrayLike) -> Spread:
        """Spread of one or more values."""
        array = np.asarray(values, np.float64)
        median, p90, p99 = np.percentile(array, (50, 90, 99))
        return cls(float(median), float(p90), float(p99), float(array.max()))

    def to_dict(self) -> dict[str, float]:
        """The fields by name, rounded to 1 microsecond."""
        return {name: round(value, 3) for name, value in vars(self).items()}


@dataclass(frozen=True)
class StreamStats:
    """Counts since the stream was opened. ``captured = processed + dropped + waiting`` at any time.

    Attributes:
        captured: Frames that the source delivered, those that it could not read included.
        processed: Frames whose result was returned.
        dropped: Frames that were not processed, by cause: ``newer`` (a newer frame took their place),
            ``stale`` (waited longer than ``max_age_s``), ``every`` (left out on request), ``closed`` (still waiting
            when the stream closed), ``unreadable`` and ``refused`` (skipped with ``on_error="skip"``: not readable,
            or no frame), ``failed`` (the one on which the stream failed).
        waiting: Frames in the buffer and in work, whose result is not out yet.
        seconds: Time since the first frame was asked for.
        stages: Spread of each stage over the last frames (at most 1,000), in milliseconds.
        flagged: Results with each flag.
        reconnects: Times that a lost source was opened again.
        outputs: What each output with a queue of its own did with its results, by name. They were all returned, and
            count as processed, whether or not an output lost them.
    """

    captured: int
    processed: int
    dropped: Mapping[str, int]
    waiting: int
    seconds: float
    stages: Mapping[str, Spread] = field(default_factory=dict)
    flagged: Mapping[str, int] = field(default_factory=dict)
    reconnects: int = 0
    outputs: Mapping[str, OutputStats] = field(default_factory=dict)

    @property
    def captured_fps(self) -> float:
        """Captured frames per second."""
        return self.captured / self.seconds if self.seconds > 0 else 0.0

    @property
    def fps(self) -> float:
        """Processed frames per second."""
        return self.processed / self.seconds if self.seconds > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers by name, safe for JSON."""
        return {
            "captured": self.captured,
            "processed": self.processed,
            "dropped": dict(self.dropped),
            "waiting": self.waiting,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 3),
            "captured_fps": round(self.captured_fps, 3),
            "reconnects": self.reconnects,
            "flagged": dict(self.flagged),
            "outputs": {name: counts.to_dict() for name, counts in self.outputs.items()},
            "stages": {name: spread.to_dict() for name, spread in self.stages.items()},
        }


class StageWindow:
    """Stage times of the last frames in a ring of fixed size."""

    def __init__(self, size: int = 1000) -> None:
        self._times = np.full((size, len(_STAGES)), np.nan, np.float32)
        self._count = 0

    def add(self, timing: Timing) -> None:
        """Take in the times of one frame."""
        row = [getattr(timing, stage) for stage in _STAGES]
        self._times[self._count % len(self._times)] = [np.nan if value is None else value for value in row]
        self._count += 1

    def spreads(self) -> dict[str, Spread]:
        """Spread of each stage that has a time."""
        kept = self._times[: min(self._count, len(self._times))]
        known = {stage: kept[:, index] for index, stage in enumerate(_STAGES)}
        known = {stage: values[np.isfinite(values)] for stage, values in known.items()}
        return {stage: Spread.of(values) for stage, values in known.items() if values.size}
