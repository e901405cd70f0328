# SPDX-License-Identifier: Apache-2.0
"""What the order of frames tells: gaps, repeated times, a clock that goes back, a new size."""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pitviper.sdk.sources import Frame

__all__ = ["Continuity"]

_GAP: Final = 1.75
_STEPS: Final = 9


class Continuity:
    """Compares each frame of a stream with the one before it and names what is not as usual.

    - ``after_gap``: frames before this one were lost, in the source or because the stream dropped them.
    - ``out_of_order``: its index is not above that of the frame before: a frame that came twice, or late.
    - ``time_repeated``: its sensor time equals that of the frame before.
    - ``time_late``: its sensor time lies before that of the frame before: it came late, or the clock went back.
    - ``time_gap``: its sensor time lies more than 1.75 usual steps after that of the frame before, although nothing was
      dropped here: the camera, the network or a damaged file lost frames. Usual is the median of the last steps.
    - ``shape_changed``: its size or type is another one.
    """

    def __init__(self) -> None:
        self._index: int | None = None
        self._sensor_ns: int | None = None
        self._kind: Any = None
        self._steps: deque[int] = deque(maxlen=_STEPS)

    def see(self, frame: Frame, lost: int) -> tuple[str, ...]:
        """Flags of the next frame, ``lost`` frames after the one before it."""
        kind = (frame.image.shape, frame.image.dtype)
        sensor_ns = None if frame.time is None else frame.time.sensor_ns
        flags = ["after_gap"] if lost else []
        if self._index is not None and frame.index <= self._index:
            flags.append("out_of_order")
        if sensor_ns is not None and self._sensor_ns is not None:
            flags += self._time(sensor_ns - self._sensor_ns, lost)
        if self._kind not in (None, kind):
            flags.append("shape_changed")
        self._index, self._kind = frame.index, kind
        self._sensor_ns = self._sensor_ns if sensor_ns is None else sensor_ns
        return tuple(flags)

    def _time(self, step_ns: int, lost: int) -> list[str]:
        """Flags of the step from the frame before."""
        if step_ns <= 0:
            return ["time_late" if step_ns else "time_repeated"]
        if lost:
            return []
        usual = median(self._steps) if len(self._steps) == _STEPS else None
        self._steps.append(step_ns)
        return ["time_gap"] if usual is not None and step_ns > _GAP * usual else []
