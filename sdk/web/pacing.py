# SPDX-License-Identifier: Apache-2.0
"""A file played at its own pace, as if a camera gave it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from pitviper.sdk.arguments import require_number
from pitviper.sdk.sources import Frame, FrameTime, Source

__all__ = ["PlayedSource"]

_FPS: Final = 25.0


class PlayedSource(Source):
    """Frames come when they are due; the times between them are the source's own, or those of its frame rate.

    Args:
        opener: Opens the source; called again for each round.
        loop: Begin again at the end. Indices and times go on, so that a tracker sees time run forwards.
        fps: Frames per second where the source tells neither times nor a rate; 25 if None.

    Raises:
        SourceError: As from ``opener``. InputError: ``fps`` is not above 0.
    """

    def __init__(self, opener: Callable[[], Source], *, loop: bool = False, fps: float | None = None) -> None:
        if fps is not None:
            require_number("fps", fps, above=0)
        self._opener = opener
        self._loop = loop
        self._source = opener()
        info = self._source.info
        super().__init__(replace(info, live=True), files=self._source.files)
        self._step_ns = round(1e9 / (info.fps or fps or _FPS))

    def _read(self) -> Iterator[Frame]:
        index, played, start = 0, 0, time.monotonic()
        while True:
            first = before = None
            for frame in self._source:
                stamp = frame.time.sensor_ns
                if first is None or before is None:
                    first = before = frame
                elif stamp is not None and before.time.sensor_ns is not None:
                    played += max(0, stamp - before.time.sensor_ns)
                else:
                    played += self._step_ns
                before = frame
                self._wait_until(start + played / 1e9)
                yield replace(frame, index=index, time=FrameTime.now(played))
                index += 1
            if not self._loop or first is None or self._interrupted:
                return
            played += self._step_ns
            self._source.close()
            self._source = self._opener()

    def _release(self) -> None:
        self._source.close()
