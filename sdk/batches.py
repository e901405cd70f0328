# SPDX-License-Identifier: Apache-2.0
"""Several frames of a stream through the network together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

from pitviper.sdk.detections import Detections
from pitviper.sdk.errors import InputError

if TYPE_CHECKING:
    from pitviper.sdk.detector import Detector
    from pitviper.sdk.sources import FrameTime

__all__ = ["detect_together"]


def detect_together(detector: Detector, asked: Sequence[dict[str, Any]]) -> list[Detections | InputError]:
    """Results of frames in their order; a frame that cannot be used gives its error and spoils no other.

    Args:
        detector: Runs them.
        asked: For each the arguments of the detector's way for streams: ``frame``, ``threshold`` (one for all) and
            what the stream knows of the frame.
    """
    try:
        found = detector.detect_batch([one["frame"] for one in asked], threshold=asked[0]["threshold"])
    except InputError:
        return [_result_or_error(detector, one) for one in asked]
    return [_placed(result, **one) for result, one in zip(found, asked, strict=True)]


def _result_or_error(detector: Detector, asked: dict[str, Any]) -> Detections | InputError:
    try:
        return detector._detect_streamed(**asked)
    except InputError as error:
        return error


def _placed(
    found: Detections,
    *,
    time: FrameTime | None,
    wait_ms: float,
    host_ns: int | None,
    frame_id: int,
    name: str | None,
    **_: Any,
) -> Detections:
    """A result of a batch with what the stream knows of its frame."""
    age_ms = None if host_ns is None else (monotonic_ns() - host_ns) / 1e6
    timing = replace(found.timing, wait_ms=wait_ms, age_ms=age_ms)
    return replace(found, time=time, timing=timing, frame_id=frame_id, name=name)
