# SPDX-License-Identifier: Apache-2.0
"""Shutter corrections seen in the picture: frozen frames, jumps of the whole picture, a closed shutter.

Works on a sample of about 16,000 pixels in a regular grid. Decisions are ratios of counts, so gain and offset drop out.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ShutterWatch", "Step"]

SAMPLE_PX: Final = 16384
JUMP_CENTRE: Final = 2.0
"""Median change of the picture over the mean deviation from it: about 2.3 noise deviations where nothing moves."""
JUMP_SPREAD: Final = 3.0
"""Deviation of the change over its running median."""
FLAT: Final = 0.25
"""Deviation of the picture over its running median: a closed shutter has no scene."""
HISTORY: Final = 32
"""Frames of the running medians; as many odd frames in a row are taken as the new normal."""
KNOWN: Final = 8
"""Frames that a running median needs before it is compared with."""
FROZEN_RUN: Final = 2
"""Repeated frames in a row that look like a correction rather than like one repeated frame."""


@dataclass(frozen=True)
class Step:
    """One frame against those before it."""

    frozen: bool = False
    jump: bool = False
    ffc: bool = False

    @property
    def usual(self) -> bool:
        """Whether nothing was found: such a frame may be learned from."""
        return not (self.frozen or self.jump or self.ffc)


class ShutterWatch:
    """Compares each frame with those before it."""

    def __init__(self) -> None:
        self._last: NDArray[Any] | None = None
        self._changes: deque[float] = deque(maxlen=HISTORY)
        self._scenes: deque[float] = deque(maxlen=HISTORY)
        self._frozen = 0
        self._odd = 0

    def see(self, pixels: NDArray[Any], *, lossy: bool = False) -> Step:
        """Take in the next frame [H, W] of one size and type.

        After a ``lossy`` codec only a shift of the whole picture counts as a jump: a key frame changes all its noise.
        """
        stride = max(1, math.isqrt(pixels.size // SAMPLE_PX))
        sample = pixels[::stride, ::stride].copy()
        last, self._last = self._last, sample
        if last is not None and np.array_equal(sample, last):
            self._frozen += 1
            return Step(frozen=True, ffc=self._frozen >= FROZEN_RUN)
        thawed, self._frozen = self._frozen >= FROZEN_RUN, 0
        values = sample.astype(np.float32)
        scene = float(np.mean(np.abs(values - values.mean())))
        flat = len(self._scenes) >= KNOWN and scene < FLAT * float(np.median(self._scenes))
        jump = False
        change = None
        if last is not None:
            difference = values - last.astype(np.float32)
            centre = float(np.median(difference))
            change = float(np.mean(np.abs(difference - centre)))
            stronger = len(self._changes) >= KNOWN and change > JUMP_SPREAD * float(np.median(self._changes))
            jump = abs(centre) > JUMP_CENTRE * change or (stronger and not lossy)
        self._remember(scene, change, odd=flat or jump)
        return Step(jump=jump, ffc=flat or (jump and thawed))

    def _remember(self, scene: float, change: float | None, *, odd: bool) -> None:
        self._odd = self._odd + 1 if odd else 0
        if self._odd >= HISTORY:
            # It stays like this: a new scene, and no event.
            self._changes.clear()
            self._scenes.clear()
            self._odd = 0
        elif odd:
            return
        self._scenes.append(scene)
        if change is not None:
            self._changes.append(change)
