# SPDX-License-Identifier: Apache-2.0
"""`LiveView`: a stream whose last result can be looked at, and whose threshold and recording can be changed."""

from __future__ import annotations

import io
import json
import threading
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pitviper.sdk.draw import ToneMap
from pitviper.sdk.errors import SdkError, SinkError
from pitviper.sdk.log_odds import log_odds_of, threshold_text
from pitviper.sdk.pipeline import Pipeline

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections
    from pitviper.sdk.detector import Detector
    from pitviper.sdk.sources import Frame

__all__ = ["Event", "LiveView"]

_PICTURES: Final = 8
_EVENTS: Final = 200
_JPEG_QUALITY: Final = 90
_GAP: Final = "after_gap"
"""The flag of a frame before which some were dropped: on a slow machine every second one, and the plot shows it."""


@dataclass(frozen=True)
class Event:
    """Something that an operator may want to know of.

    Attributes:
        number: Counts up from 1.
        utc: ISO 8601, seconds.
        kind: ``state``, ``track``, ``flag``, ``threshold``, ``recording`` or ``error``.
        text: One sentence.
    """

    number: int
    utc: str
    kind: str
    text: str


class LiveView:
    """Runs a stream in the background and keeps what a page shows of it, in memory that does not grow.

    Args:
        source: As in `Detector.stream`.
        detector: Finds the targets; it is not closed.
        recordings: Folder in which `record` makes one folder each; None refuses to record.
        options: Those of `Detector.stream`.

    Raises:
        SourceError: The source cannot be opened. InputError: An argument is out of range.
    """

    def __init__(
        self, source: Any, detector: Detector, *, recordings: Path | None = None, **options: Any
    ) -> None:
        self._lock = threading.Lock()
        self._detector = detector
        self._recordings = recordings
        self._tone = ToneMap()
        self._shown: deque[tuple[int, NDArray[np.uint8]]] = deque(maxlen=_PICTURES)
        self._events: deque[Event] = deque(maxlen=_EVENTS)
        self._event_count = 0
        self._last: tuple[Frame, Detections] | None = None
        self._shown_count = 0
        self._state = ""
        self._leaving = False
        self._confirmed: set[int] = set()
        self._flags: set[str] = set()
        self._recorder: Any = None
        self._pipeline = Pipeline(source, detector, on_result=self._take, **options)
        self._begun_with = self._pipeline.threshold

    @property
    def pipeline(self) -> Pipeline:
        """What runs in the background; started and stopped by this view."""
        return self._pipeline

    @property
    def count(self) -> int:
        """Results so far; changes when there is a new one to show."""
        return self._shown_count

    @property
    def running(self) -> bool:
        """Whether results may still come, and viewers may wait for them."""
        return not self._leaving and self._pipeline.state not in ("ended", "failed", "closed")

    def leave(self) -> None:
        """Let go of every viewer that waits for results; may be called by a signal handler."""
        self._leaving = True

    @property
    def threshold(self) -> float:
        """Probability that a pixel has to exceed; setting it takes effect with the next frame.

        Raises:
            InputError: Not in [0, 1).
        """
        return self._pipeline.threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        self._pipeline.threshold = value
        self._tell("threshold", f"Threshold {threshold_text(self._pipeline.threshold)}.")

    def reset_threshold(self) -> None:
        """Back to the threshold that the stream began with, which a calibration may have chosen."""
        self.threshold = self._begun_with

    def start(self) -> LiveView:
        """Begin; returns at once."""
        self._pipeline.start()
        return self

    def stop(self) -> None:
        """End the stream and the recording, and wait. What ended the stream earlier is raised.

        Raises:
            Exception: As from `Pipeline.stop`; SinkError when the recording could not be finished.
        """
        try:
            self._pipeline.stop(drain=False)
        finally:
            self.record(False)

    def about(self) -> dict[str, Any]:
        """What does not change: model, engine and source; safe for JSON. No credentials."""
        info, engine = self._pipeline.info, self._detector.engine_info
        return {
            "model": self._detector.manifest.name,
            "engine": engine.to_dict(),
            "source": info.name,
            "kind": info.kind,
            "live": info.live,
            "recording_possible": self._recordings is not None,
        }

    def status(self) -> dict[str, Any]:
        """State, counts, threshold, recording and the last result; safe for JSON."""
        with self._lock:
            last, number = self._last, self._shown_count
            recording = None if self._recorder is None else self._recorder.folder.name
            events = [asdict(event) for event in self._events]
        found = None
        if last is not None:
            found = last[1].to_dict()
            found["tracks"] = [track.to_dict() for track in last[1].tracks or ()]
        return {
            "number": number,
            "state": self._pipeline.state,
            "stats": self._pipeline.stats.to_dict(),
            "threshold": self.threshold,
            "threshold_text": threshold_text(self.threshold),
            "threshold_changed": log_odds_of(self.threshold) != log_odds_of(self._begun_with),
            "recording": recording,
            "result": found,
            "events": events,
        }

    def picture(self, number: int) -> bytes | None:
        """JPEG of the tone-mapped frame of result ``number``; None if it is not kept any more, or not yet."""
        with self._lock:
            kept = dict(self._shown).get(number)
        if kept is None:
            return None
        target = io.BytesIO()
        Image.fromarray(kept).save(target, "JPEG", quality=_JPEG_QUALITY)
        return target.getvalue()

    def snapshot(self) -> tuple[str, bytes]:
        """Name and content of a zip: the last frame with all its bits (PNG, or NumPy for floats) and its result.

        Raises:
            SdkError: There is no frame yet.
        """
        with self._lock:
            last = self._last
        if last is None:
            raise SdkError("there is no frame yet to take a snapshot of")
        frame, found = last
        stem = f"snapshot-{_stamp()}-{frame.index}"
        content, image = io.BytesIO(), io.BytesIO()
        plain = frame.image.dtype in (np.uint8, np.uint16)
        if plain:
            Image.fromarray(frame.image).save(image, "PNG")
        else:
            np.save(image, frame.image, allow_pickle=False)
        with ZipFile(content, "w", ZIP_DEFLATED) as archive:
            archive.writestr(f"{stem}.{'png' if plain else 'npy'}", image.getvalue())
            archive.writestr(f"{stem}.json", json.dumps(found.to_dict(), indent=1, allow_nan=False))
        return f"{stem}.zip", content.getvalue()

    def record(self, wanted: bool) -> None:
        """Begin or end a recording; nothing where that is the case already.

        The threshold and the tracks may be in mid-course, so such a recording is for looking and for training, and
        is not checked against a second run by ``pitviper replay``.

        Raises:
            SdkError: No folder for recordings was given. SinkError: It cannot be made or finished.
        """
        from pitviper.sdk.record import Recorder

        with self._lock:
            if wanted == (self._recorder is not None):
                return
            if not wanted:
                recorder, self._recorder = self._recorder, None
                recorder.close()
            else:
                if self._recordings is None:
                    raise SdkError("recording is off; start with --record-dir DIR")
                folder = self._recordings / f"recording-{_stamp()}"
                self._recorder = recorder = Recorder(folder, info=self._pipeline.info)
        self._tell("recording", f"Recording {recorder.folder.name} {'begun' if wanted else 'finished'}.")

    def _take(self, frame: Frame, found: Detections) -> None:
        """Called by the pipeline's thread for each result."""
        shown = self._tone(frame.image)
        failed: SinkError | None = None
        with self._lock:
            self._shown_count += 1
            # The source may hand out its memory again: the picture is a copy, or lives as long as the frame.
            self._shown.append((self._shown_count, shown.copy() if shown is frame.image else shown))
            self._last = (frame, found)
            if self._recorder is not None:
                try:
                    self._recorder.write(frame, found)
                except SinkError as error:
                    failed, recorder, self._recorder = error, self._recorder, None
                    with suppress(SinkError):
                        recorder.close()
        if failed is not None:
            self._tell("error", f"The recording ended: {failed}")
        self._notice(found)

    def _notice(self, found: Detections) -> None:
        """Turns changes from one result to the next into events."""
        state = self._pipeline.state
        if state != self._state:
            self._tell("state", f"The source is {state}.")
            self._state = state
        now = {track.id for track in found.tracks or () if track.state != "tentative"}
        for number in sorted(now - self._confirmed):
            self._tell("track", f"Track {number} confirmed.")
        for number in sorted(self._confirmed - now):
            self._tell("track", f"Track {number} ended.")
        self._confirmed = now
        flags = set(found.flags) - {_GAP}
        for flag in sorted(flags - self._flags):
            self._tell("flag", f"{flag} from frame {found.frame_id}.")
        self._flags = flags

    def _tell(self, kind: str, text: str) -> None:
        utc = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with self._lock:
            self._event_count += 1
            self._events.append(Event(self._event_count, utc, kind, text))


def _stamp() -> str:
    return datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%fZ")
