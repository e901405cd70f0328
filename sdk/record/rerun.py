# SPDX-License-Identifier: Apache-2.0
"""`rerun`: decide on a recording again and say whether the result is the same, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pitviper.sdk.errors import InputError
from pitviper.sdk.record.entries import Setup, unpack_found
from pitviper.sdk.record.source import ReplaySource

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections
    from pitviper.sdk.detector import Detector
    from pitviper.sdk.sources import Frame

__all__ = ["RerunReport", "first_difference", "rerun"]

_TARGETS: Final = ("score", "xy", "xyxy", "mean", "area_px", "snr", "class_id")
_ENGINE_KEYS: Final = ("name", "version", "device", "precision")


@dataclass(frozen=True)
class RerunReport:
    """What a second run of the decisions showed.

    Attributes:
        frames: Frames that were decided again.
        without_result: Frames of the recording that hold no decision to compare with.
        differing: Frames whose result is not the recorded one.
        first: The first difference in words, None when there is none.
        other: What is not as it was when the recording was made (model, engine), in words.
        not_compared: What could not be compared, and why.
        unreadable: Frames that were skipped.
    """

    frames: int
    without_result: int
    differing: int
    first: str | None
    other: tuple[str, ...]
    not_compared: tuple[str, ...]
    unreadable: int

    @property
    def same(self) -> bool:
        """Whether every decision is the recorded one, and there was at least one."""
        return self.differing == 0 and self.frames > self.without_result

    def to_dict(self) -> dict[str, Any]:
        """Plain values by name, safe for JSON."""
        values = {"same": self.same, **asdict(self)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def rerun(
    source: ReplaySource, detector: Detector, *, progress: Callable[[Detections], object] | None = None
) -> RerunReport:
    """Run detector, monitor and tracker over a recording as its set-up says, each frame at its recorded threshold.

    Args:
        source: An opened recording; it is closed at the end.
        detector: Decides. On the engine of the recording its results are the same bits; another engine may differ.
        progress: Called with each result.

    Raises:
        SourceError: The recording cannot be read. InputError: Its set-up does not fit this version.
    """
    setup = source.recording.header.setup
    decide = _Decisions(detector, setup)
    frames = without = differing = 0
    first: str | None = None
    with source:
        for frame in source:
            assert source.entry is not None
            recorded = unpack_found(source.entry)
            found = decide(frame, detector.threshold if recorded is None else recorded.threshold)
            frames += 1
            if recorded is None:
                without += 1
            else:
                difference = first_difference(recorded, found, skip=decide.skips(recorded))
                differing += difference is not None
                if difference is not None and first is None:
                    first = f"frame {frame.index}: {difference}"
            if progress is not None:
                progress(found)
        unreadable = source.skipped
    return RerunReport(
        frames, without, differing, first, _other(detector, setup), decide.not_compared, unreadable
    )


class _Decisions:
    """Detector, monitor and tracker as they were set up."""

    def __init__(self, detector: Detector, setup: Setup | None) -> None:
        self._detector = detector
        self._monitor = self._tracker = None
        self.not_compared: tuple[str, ...] = ()
        if setup is not None and setup.monitor is not None:
            from pitviper.sdk.thermal import ThermalMonitor

            self._monitor = _made(ThermalMonitor, setup.monitor)
        if setup is not None and setup.tracker is not None:
            from pitviper.sdk.tracking import Tracker

            self._tracker = _made(Tracker, setup.tracker)

    def skips(self, recorded: Detections) -> frozenset[str]:
        """What of a recorded result cannot be made again; said in `not_compared`."""
        found: frozenset[str] = frozenset()
        notes = list(self.not_compared)
        if self._tracker is None and recorded.tracks is not None:
            found |= {"track_id", "tracks"}
            notes.append("tracks: the recording does not say how its tracker was set up")
        if self._monitor is None and recorded.bad_pixel.any():
            found |= {"bad_pixel"}
            notes.append("bad pixels: the recording does not say how its monitor was set up")
        self.not_compared = tuple(dict.fromkeys(notes))
        return found

    def __call__(self, frame: Frame, threshold: float) -> Detections:
        found = self._detector.detect(frame.image, threshold=threshold)
        flags = (*found.flags, *frame.flags)
        if self._monitor is not None:
            flags = (*flags, *self._monitor.observe(frame.image, frame.flags).flags)
        found = replace(found, frame_id=frame.index, time=frame.time, name=frame.name, flags=flags)
        if self._monitor is not None:
            found = self._monitor.mark(found)
        return found if self._tracker is None else self._tracker.update(found, frame=frame)


def _made(kind: Any, arguments: Mapping[str, Any]) -> Any:
    # JSON has lists where the arguments are tuples.
    given = {key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items()}
    try:
        return kind(**given)
    except TypeError as error:
        raise InputError(f"the recording's {kind.__name__} does not fit this version: {error}") from error


def first_difference(
    recorded: Detections, found: Detections, *, skip: frozenset[str] = frozenset()
) -> str | None:
    """The first thing in which two results of a frame differ, in words; None when they are the same bits."""
    if len(recorded) != len(found):
        return f"{len(found)} targets, recorded were {len(recorded)}"
    for key in (*_TARGETS, "track_id", "bad_pixel"):
        if key in skip:
            continue
        old, new = getattr(recorded, key), getattr(found, key)
        same = (old == new) | ((old != old) & (new != new))
        if not same.all():
            row = int(np.argwhere(~same.reshape(len(old), -1).all(axis=1))[0, 0])
            return f"{key} of target {row} is {new[row].tolist()}, recorded was {old[row].tolist()}"
    if recorded.flags != found.flags:
        return f"flags are {list(found.flags)}, recorded were {list(recorded.flags)}"
    if "tracks" not in skip and recorded.tracks != found.tracks:
        return f"tracks are {_shown(found)}, recorded were {_shown(recorded)}"
    return None


def _shown(found: Detections) -> str:
    if found.tracks is None:
        return "none"
    return str([(track.id, track.state, track.x, track.y) for track in found.tracks])


def _other(detector: Detector, setup: Setup | None) -> tuple[str, ...]:
    if setup is None:
        return ("the recording does not say which model and engine it was made with",)
    now = Setup.of(detector)
    notes = []
    if setup.model_sha256 != now.model_sha256:
        notes.append(f"model {now.model} is not the recorded network ({setup.model})")
    for key in _ENGINE_KEYS:
        old, new = setup.engine.get(key), now.engine.get(key)
        if old != new:
            notes.append(f"engine {key} is {new}, recorded was {old}")
    old_threads, new_threads = setup.engine.get("threads"), now.engine.get("threads")
    if old_threads != new_threads:
        notes.append(f"engine threads are {new_threads}, recorded were {old_threads}")
    return tuple(notes)
