# SPDX-License-Identifier: Apache-2.0
"""What the order of frames tells: gaps, repeated times, a clock that goes back, a new size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pitviper.sdk.sources import Frame

__all__ = ["Continuity"]


class Continuity:
    """Compares each frame of a stream with the one before it and names what is not as usual.

    - ``after_gap``: frames before this one were lost, in the source or because the stream dropped them.
    - ``out_of_order``: its index is not above that of the frame before: a frame that came twice, or late.
    - ``time_repeated``: its sensor time equals that of the frame before.
    - ``time_late``: its sensor time lies before that of the frame before: it came late, or the clock went back.
    - ``shape_changed``: its size or type is another one.
    """

    def __init__(self) -> None:
        self._index: int | None = None
        self._sensor_ns: int | None = None
        self._kind: Any = None

    def see(self, frame: Frame, lost: int) -> tuple[str, ...]:
        """Flags of the next frame, ``lost`` frames after the one before it."""
        kind = (frame.image.shape, frame.image.dtype)
        sensor_ns = None if frame.time is None else frame.time.sensor_ns
        flags = ["after_gap"] if lost else []
        if self._index is not None and frame.index <= self._index:
            flags.append("out_of_order")
        if sensor_ns is not None and self._sensor_ns is not None and sensor_ns <= self._sensor_ns:
            flags.append("time_repeated" if sensor_ns == self._sensor_ns else "time_late")
        if self._kind not in (None, kind):
            flags.append("shape_changed")
        self._index, self._kind = frame.index, kind
        self._sensor_ns = self._sensor_ns if sensor_ns is None else sensor_ns
        return tuple(flags)
