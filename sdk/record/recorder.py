# SPDX-License-Identifier: Apache-2.0
"""`Recorder`: a sink that keeps frames bit for bit, with their times and what was decided."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pitviper import __version__
from pitviper.sdk.errors import InputError, SinkError
from pitviper.sdk.record import segments
from pitviper.sdk.record.entries import DTYPES, ENCODINGS, Entry, Header, Setup, pack_found
from pitviper.sdk.sinks.base import GrowingFile, sink_error
from pitviper.sdk.thermal import FLAGS

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections
    from pitviper.sdk.sources import Frame, SourceInfo

__all__ = ["INDEX", "Recorder", "decided_flags"]

INDEX: Final = "index.jsonl"
_DETECTOR_FLAGS: Final = frozenset({"truncated", "agc_suspected", "tiled"})
# Without time_repeated and time_late, which the stream raises as well, before the detector sees the frame.
_TRACKER_FLAGS: Final = frozenset({"tracks_ended", "tracks_blind", "time_guessed", "motion_unknown"})


def decided_flags(setup: Setup | None) -> frozenset[str]:
    """The flags that a rerun raises by itself; all others are taken from the recording."""
    found = _DETECTOR_FLAGS
    if setup is not None and setup.monitor is not None:
        found |= set(FLAGS)
    if setup is not None and setup.tracker is not None:
        found |= _TRACKER_FLAGS
    return found


class Recorder:
    """A folder with an index and the frames, as docs/record.md describes it. One of a stream's sinks.

    The frame is written before its line in the index, each by one call of the system. A recording that is killed at
    any moment can be read up to its last line; a full disk is an error, and what was written before it stays whole.

    Args:
        folder: Is made; one that holds files already is refused.
        encoding: ``raw`` (fast, large) or ``ffv1`` (about a third of the size for noisy 14-bit frames, and slow).
        info: Of the source, for its name and frame rate.
        setup: How decisions are made, so that `rerun` can make them again; None records them all the same.
        camera: Name of the camera profile.

    Raises:
        SinkError: The folder cannot be made, or is not empty. InputError: No such encoding.
    """

    when_slow: Final = "wait"
    """A tracker that saw frames which the recording lacks could not be run again to the same result."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        encoding: str = "raw",
        info: SourceInfo | None = None,
        setup: Setup | None = None,
        camera: str | None = None,
    ) -> None:
        if encoding not in ENCODINGS:
            raise InputError(f"encoding must be one of {', '.join(ENCODINGS)}, got {encoding!r}")
        self.folder = Path(folder)
        self._encoding = encoding
        self._fps = info.fps if info is not None else None
        self._decided = decided_flags(setup)
        self._writer: segments.Writer | None = None
        self._kind: tuple[Any, ...] | None = None
        self._file = -1
        self._bytes = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            old = sum(1 for _ in self.folder.iterdir())
        except OSError as error:
            raise sink_error(self.folder, error) from error
        if old:
            raise SinkError(f"{self.folder}: already holds {old} files; name a new folder for the recording")
        self._index: GrowingFile | None = GrowingFile(self.folder / INDEX)
        header = Header(
            encoding,
            source="" if info is None else info.name,
            fps=self._fps,
            camera=camera,
            created_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            pitviper=__version__,
            setup=setup,
        )
        try:
            self._index.append(header.to_line())
        except BaseException:
            self._index.close()
            raise

    def write(self, frame: Frame, detections: Detections) -> None:
        """Add one frame with its result."""
        if self._index is None:
            raise SinkError(f"{self.folder}: already closed; open a new sink")
        image = frame.image
        if image.ndim != 2 or image.dtype.name not in DTYPES:
            raise SinkError(
                f"{self.folder}: a recording holds frames [H, W] of counts, got {image.dtype} {image.shape}"
            )
        at = self._writer_for(image).add(image)
        self._bytes += image.nbytes
        outside = set(frame.flags) | (set(detections.flags) - self._decided)
        entry = Entry(
            index=int(frame.index),
            time=frame.time,
            name=frame.name,
            flags=tuple(sorted(outside)),
            shape=(int(image.shape[0]), int(image.shape[1])),
            dtype=image.dtype.name,
            file=self._file,
            at=at,
            crc32=segments.pixel_crc(image),
            found=pack_found(detections),
            telemetry=frame.telemetry,
        )
        self._index.append(entry.to_line())

    def _writer_for(self, image: np.ndarray[Any, Any]) -> segments.Writer:
        kind = (image.shape, image.dtype.name)
        if self._writer is not None and kind == self._kind and self._bytes < segments.LARGEST_BYTES:
            return self._writer
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        path = segments.file_of(self.folder, self._file + 1, self._encoding)
        self._writer = segments.open_writer(path, self._encoding, image, self._fps)
        self._file, self._kind, self._bytes = self._file + 1, kind, 0
        return self._writer

    def close(self) -> None:
        """Finish the files. Twice is fine. Raises SinkError when one could not be finished."""
        index, self._index = self._index, None
        writer, self._writer = self._writer, None
        if index is None:
            return
        try:
            if writer is not None:
                writer.close()
        except BaseException:
            with suppress(SinkError):
                index.close()
            raise
        index.close()
