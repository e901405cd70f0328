# SPDX-License-Identifier: Apache-2.0
"""Trackers of other libraries in the place of `Tracker`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pitviper.sdk.errors import InputError

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections
    from pitviper.sdk.sources import Frame

__all__ = ["SupervisionTracker"]


class SupervisionTracker:
    """A tracker that works on ``supervision.Detections``, such as ``supervision.ByteTrack``, for a `Stream`.

    It counts frames and not seconds, and works by the overlap of boxes: made for targets that overlap themselves from
    one frame to the next.

    Args:
        tracker: An object whose ``update_with_detections`` (Supervision) or ``update`` (trackers) takes and returns
            ``supervision.Detections`` with ``tracker_id``.

    Raises:
        InputError: It has neither method.
    """

    def __init__(self, tracker: Any) -> None:
        call = getattr(tracker, "update_with_detections", None) or getattr(tracker, "update", None)
        if not callable(call):
            raise InputError(
                f"{type(tracker).__name__} has neither update_with_detections nor update; give an object such as "
                "supervision.ByteTrack()"
            )
        self._update = call

    def update(self, detections: Detections, *, frame: Frame | None = None) -> Detections:
        """The same detections with `track_id`; -1 where the tracker returned none.

        Raises:
            MissingExtra: The package supervision is not installed.
            InputError: The tracker lost the data that tells which detection is which.
        """
        given = detections.to_supervision()
        returned = self._update(given)
        index = returned.data.get("index")
        if index is None and len(returned):
            raise InputError(
                "the tracker returned detections without data['index'], which to_supervision() put there"
            )
        number = np.full(len(detections), -1, np.int64)
        if len(returned) and returned.tracker_id is not None:
            number[np.asarray(index, np.intp)] = returned.tracker_id
        return replace(detections, track_id=number)
