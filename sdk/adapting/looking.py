# SPDX-License-Identifier: Apache-2.0
"""What a detector and a tracker say of every frame of a stream: run anew, or read from a recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.adapting.trust import Trajectory
from pitviper.sdk.calibration import model_identity
from pitviper.sdk.detections import Detections
from pitviper.sdk.errors import InputError, SourceError
from pitviper.sdk.frame_files import name_in_files
from pitviper.sdk.record.entries import Entry, unpack_found
from pitviper.sdk.record.source import ReplaySource
from pitviper.sdk.sources import Source, open_source
from pitviper.sdk.tracking import Tracker

if TYPE_CHECKING:
    from pitviper.sdk.detector import Detector

__all__ = ["Looked", "look"]

Result = tuple[str | None, Detections]
"""Name of a frame in its source, and what was found in it."""


@dataclass(frozen=True)
class Looked:
    """A stream, seen through once.

    Attributes:
        names: Name of each frame in files and labels, by its number, in order.
        shapes: (H, W) of each.
        tracks: Track of each detection of a frame, int64 [N]; -1 for those on no confirmed track.
        trajectories: Of the confirmed tracks.
        fps: Frames per second, or None for frames that have no times.
        recorded: Whether the tracks are those of the recording.
    """

    names: dict[int, str]
    shapes: dict[int, tuple[int, int]]
    tracks: dict[int, NDArray[np.int64]]
    trajectories: tuple[Trajectory, ...]
    fps: float | None
    recorded: bool


class _Notes:
    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.shapes: dict[int, tuple[int, int]] = {}
        self.tracks: dict[int, NDArray[np.int64]] = {}
        self.points: dict[int, list[tuple[int, float, float, float]]] = {}

    def take(self, name: str, found: Detections) -> None:
        frame = found.frame_id
        self.names[frame], self.shapes[frame], self.tracks[frame] = name, found.shape, found.track_id
        for track, (x, y), score in zip(found.track_id, found.xy, found.score, strict=True):
            if track >= 0:
                self.points.setdefault(int(track), []).append((frame, float(x), float(y), float(score)))

    def result(self, fps: float | None, *, recorded: bool) -> Looked:
        made = []
        for track, rows in self.points.items():
            table = np.array(rows)
            made.append(
                Trajectory(track, table[:, 0].astype(np.int64), table[:, 1:3], table[:, 3].astype(np.float32))
            )
        return Looked(self.names, self.shapes, self.tracks, tuple(made), fps, recorded)


def look(
    detector: Detector,
    spec: str,
    *,
    fps: float | None = None,
    frames: int | None = None,
    follow: bool = True,
    step: Callable[[str], object] = lambda note: None,
) -> Looked:
    """Detect and track in every frame, unless the source is a recording that holds the tracks of the same model.

    Args:
        detector: That is to be adapted.
        spec: A source with an end.
        fps: Frames per second of a source without times, such as a folder; without it its frames are unrelated, and
            there are no tracks.
        frames: Stop after so many.
        follow: Whether tracks are wanted at all.
        step: Called after each frame with what was found.

    Raises:
        SourceError: The source cannot be read, holds no frame or one that cannot be used.
    """
    with open_source(spec) as source:
        if source.info.kind == "synthetic" and source.info.count is None and frames is None:
            raise InputError(f"{spec} never ends; say how many frames: frames=N")
        recorded = follow and isinstance(source, ReplaySource) and _has_tracks(source, detector)
        if recorded:
            assert isinstance(source, ReplaySource)
            results: Iterator[Result] = _recorded(source)
        else:
            results = _detected(detector, source, _tracker(source, fps) if follow else None)
        notes, kind = _Notes(), source.info.kind
        try:
            for name, found in islice(results, frames):
                notes.take(name_in_files(spec, kind, found.frame_id, name), found)
                step(f"{len(found)} targets")
        except InputError as error:
            # The arguments were fine: it is a frame of the source that cannot be used.
            raise SourceError(str(error)) from error
        looked = notes.result(source.info.fps or fps, recorded=recorded)
    if not looked.names:
        raise SourceError(f"{spec}: holds no frame")
    return looked


def _has_tracks(source: ReplaySource, detector: Detector) -> bool:
    """Whether a recording holds tracks of the very network that is to be adapted."""
    setup = source.recording.header.setup
    if setup is None or setup.tracker is None:
        return False
    return bool(setup.model_sha256) and setup.model_sha256 == model_identity(detector.package)[1]


def _recorded(source: ReplaySource) -> Iterator[Result]:
    for entry in source.recording.entries():
        if isinstance(entry, SourceError):
            raise entry
        found = unpack_found(entry)
        if found is None:
            raise SourceError(
                f"frame {entry.index} of {source.recording.folder} holds no result; record it again"
            )
        yield entry.name, found


def _detected(detector: Detector, source: Source, tracker: Tracker | None) -> Iterator[Result]:
    """Without a tracker nothing would be learned from detections, so there are none."""
    if tracker is None:
        for frame in source:
            height, width = frame.image.shape
            yield frame.name, Detections.empty((height, width), frame_id=frame.index)
        return
    with detector.stream(source, mode="all", tracker=tracker) as stream:
        for found in stream:
            yield found.name, found


def _tracker(source: Source, fps: float | None) -> Tracker | None:
    if fps is not None:
        return Tracker(clock=fps)
    if source.info.kind == "images":
        return None
    if isinstance(source, ReplaySource):
        first = next((each for each in source.recording.entries() if isinstance(each, Entry)), None)
        if first is None or first.time.sensor_ns is None:
            return None
    return Tracker()
