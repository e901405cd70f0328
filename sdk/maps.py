# SPDX-License-Identifier: Apache-2.0
"""The probability map behind a result: whole while it is fresh, a few pixel indices once it is let go.

A stream of a day must not hold a map per result that somebody keeps: it releases each map at the next
frame. The mask survives, because the pixels of small targets are few.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.errors import InputError
from pitviper.sdk.log_odds import log_odds_of

__all__ = ["ProbabilityMap"]

_EIGHT_NEIGHBOURS = np.ones((3, 3), np.bool_)


class ProbabilityMap:
    """Probability of every pixel of one frame, shared by a result and what was filtered from it."""

    def __init__(
        self, values: NDArray[np.float32], threshold: float, *, log_odds: NDArray[np.float32] | None = None
    ) -> None:
        """Take over ``values``, float32 [H, W] in [0, 1]; the caller does not write to it any more.

        ``log_odds`` [H, W] decide about ``threshold`` where it is a `LogOdds`.
        """
        self._log_odds = log_odds
        self._threshold = threshold
        self._shape = values.shape
        # The kernels compare in float64, so the limit here is the largest float32 up to the threshold.
        limit = np.float32(threshold)
        self._limit = limit if float(limit) <= threshold else np.nextafter(limit, np.float32(-1))
        self._values: NDArray[np.float32] | None = values
        self._pixels: NDArray[np.intp] | None = None
        self._bounded = False

    def values(self) -> NDArray[np.float32]:
        """float32 [H, W], read-only.

        Raises:
            InputError: The map has been released.
        """
        if self._values is None:
            raise InputError(
                "the score map of a streamed result is let go at the next frame; "
                "read it before, or pass keep_maps=True to stream()"
            )
        if not self._bounded:
            # A runtime's sigmoid may round to 1 + 2**-23. Done here, because most maps are never looked at.
            np.clip(self._values, 0, 1, out=self._values)
            self._bounded = True
        view = self._values.view()
        view.setflags(write=False)
        return view

    def log_odds(self) -> NDArray[np.float32]:
        """float32 [H, W], read-only.

        Raises:
            InputError: They were not asked for, or have been released.
        """
        if self._log_odds is None:
            raise InputError(
                "there are no log-odds: they come with a threshold by LogOdds, and those of a streamed result are let "
                "go at the next frame"
            )
        view = self._log_odds.view()
        view.setflags(write=False)
        return view

    def above(self) -> NDArray[np.bool_]:
        """bool [H, W], probability > threshold; available after `release` too."""
        values = self._values
        if values is not None:
            if self._log_odds is not None:
                return self._log_odds > np.float64(log_odds_of(self._threshold))
            return values > self._limit
        found = np.zeros(self._shape, np.bool_)
        found.ravel()[self._pixels] = True
        return found

    def mask(self, xyxy: NDArray[np.float32], area_px: NDArray[np.int32]) -> NDArray[np.bool_]:
        """bool [H, W], the 8-connected components that have one of the boxes and its area."""
        above = self.above()
        if int(area_px.sum(dtype=np.int64)) == np.count_nonzero(above):
            return above
        from scipy import ndimage  # takes longer to import than all else of the SDK, and few need it

        labels, _ = ndimage.label(above, _EIGHT_NEIGHBOURS)
        wanted = {(*map(int, box), int(area)) for box, area in zip(xyxy, area_px, strict=True)}
        areas = np.bincount(labels.ravel())
        chosen = np.zeros(len(areas), np.bool_)
        for label, place in enumerate(ndimage.find_objects(labels), start=1):
            rows, columns = place
            chosen[label] = (columns.start, rows.start, columns.stop, rows.stop, int(areas[label])) in wanted
        found: NDArray[np.bool_] = chosen[labels]
        return found

    def share(self) -> ProbabilityMap:
        """The same map, which stays whole when this one is released: for whoever looks at a result later."""
        twin = ProbabilityMap.__new__(ProbabilityMap)
        twin.__dict__.update(self.__dict__)
        return twin

    def release(self) -> None:
        """Let go of the probabilities and keep the indices of the pixels above the threshold."""
        if self._values is not None:
            self._pixels = np.flatnonzero(self.above())
            self._values = self._log_odds = None
