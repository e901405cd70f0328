# SPDX-License-Identifier: Apache-2.0
"""What the counts of a frame tell: clipping, swapped bytes, pictures instead of counts.

A decision does not change when every count goes through the same gain (above 0) and offset, as long as nothing
clips; those that use the number of bits of the camera or of the type are about absolute counts and say so.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["PinnedLimits", "clipped_pixels", "eight_bits", "swapped_bytes"]

PLATEAU_PX: Final = 12
"""Fewest pixels at one end of the range that count as clipped: more than a point target has."""
PLATEAU_RATIO: Final = 4.0
"""How many times as many pixels the last level holds as the one before it."""
SWAP_RATIO: Final = 1.25
"""How much rougher a frame is than the same frame with swapped bytes, before it is suspected. Frames in the right
order stay below 1.04 on ramps, noise and synthetic scenes of every clutter, with and without hot pixels."""
PINNED_FRAMES: Final = 16
"""Frames whose lowest and highest value must be the same, at different places, before a stretch is suspected."""


def clipped_pixels(pixels: NDArray[Any], low: Any, high: Any, largest: int | None) -> int:
    """Number of pixels at the ends of the range, if they pile up there; else 0.

    Args:
        pixels: [H, W].
        low: Smallest value in it.
        high: Largest value in it.
        largest: Count at which the camera clips, where it is known: absolute, so the gain matters.
    """
    if low == high:
        return 0
    found = 0
    for end, inwards in ((high, np.max), (low, np.min)):
        at_end = pixels == end
        count = int(np.count_nonzero(at_end))
        if count < PLATEAU_PX:
            continue
        if largest is not None and end == high and int(high) >= largest:
            found += count
            continue
        next_level = inwards(pixels[~at_end])
        if count > PLATEAU_RATIO * np.count_nonzero(pixels == next_level):
            found += count
    return found


def swapped_bytes(rows: NDArray[np.uint16]) -> bool:
    """Whether the bytes of each word are probably in the wrong order.

    Compares the roughness of the rows, mean squared step between neighbours over twice the variance, with that of
    the swapped rows; values beyond the 1st and 99th percentile are clipped, so hot pixels have no say. Where the true
    counts never cross a multiple of 256 the swap is a mere gain: it cannot be seen, and it does no harm.

    Args:
        rows: uint16 [R, W], whole rows.
    """
    return _roughness(rows) > SWAP_RATIO * _roughness(rows.byteswap())


def _roughness(rows: NDArray[np.uint16]) -> float:
    values = rows.astype(np.float32)
    values = np.clip(values, *np.percentile(values, (1, 99)))
    variance = float(values.var())
    if variance == 0.0:
        return 1.0
    return float(np.mean(np.square(np.diff(values, axis=1)))) / (2 * variance)


def eight_bits(pixels: NDArray[Any], high: Any) -> bool:
    """Whether a 16-bit frame holds only 8 bits: raw counts of a sensor never lie all below 256. Absolute."""
    return pixels.dtype == np.uint16 and int(high) <= 255


class PinnedLimits:
    """Sees frames that are stretched to the same two limits each time, as a gain control does.

    In raw counts noise moves the lowest and the highest value. Dead pixels that hold both ends stay in their places;
    a stretched picture has its ends wherever the scene is coldest and hottest.
    """

    def __init__(self) -> None:
        self._limits: tuple[float, float] | None = None
        self._run = 0
        self._places: set[int] = set()

    def see(self, pixels: NDArray[Any], low: Any, high: Any) -> bool:
        """Take in one frame that differs from the one before it; whether a stretch is suspected."""
        limits = (float(low), float(high))
        if low == high or limits != self._limits:
            self._limits, self._run, self._places = limits, 1, set()
            return False
        self._run = min(self._run + 1, PINNED_FRAMES)
        if len(self._places) < 2:
            self._places.add(int(pixels.argmax()))
        return self._run >= PINNED_FRAMES and len(self._places) > 1
