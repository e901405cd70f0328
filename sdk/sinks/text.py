# SPDX-License-Identifier: Apache-2.0
"""Results as text: JSON lines, COCO results, MOT."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, TextIO

from pitviper.sdk.errors import SinkError
from pitviper.sdk.sinks.base import GrowingFile, sink_error

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections
    from pitviper.sdk.sources import Frame

__all__ = ["Coco", "JsonLines", "Mot"]


class JsonLines:
    """One JSON object a line and frame, `Detections.to_json`: with a schema version, never NaN, flushed per line.

    Args:
        path: File to make, `-` for the standard output, or an open text stream, which stays open.
    """

    def __init__(self, path: str | os.PathLike[str] | TextIO) -> None:
        self._file: GrowingFile | None = None
        self._stream: TextIO | None = None
        if isinstance(path, (str, os.PathLike)) and os.fspath(path) != "-":
            self._file = GrowingFile(path)
        else:
            self._stream = sys.stdout if isinstance(path, (str, os.PathLike)) else path

    def write(self, frame: Frame, detections: Detections) -> None:
        """Add the line of a frame."""
        line = detections.to_json() + "\n"
        if self._file is not None:
            self._file.append(line.encode())
        elif self._stream is not None:
            try:
                self._stream.write(line)
                self._stream.flush()
            except BrokenPipeError:
                raise  # The reader of a pipe has seen enough; that is its right, not a fault of the output.
            except OSError as error:
                raise sink_error(getattr(self._stream, "name", "the text stream"), error) from error
        else:
            raise SinkError("this JSON output is already closed; open a new sink")

    def close(self) -> None:
        """Close the file; a stream is left open."""
        self._stream = None
        if self._file is not None:
            self._file.close()

    def abandon(self) -> None:
        """Close without a frame: an older file stays as it was."""
        self._stream = None
        if self._file is not None:
            self._file.abandon()


class Coco:
    """A COCO results file, one list of `{image_id, category_id, bbox, score, ...}`; valid JSON after every frame.

    `image_id` is the index of the frame. Needs a real file, because its end is rewritten.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = GrowingFile(path, head=b"[", tail=b"\n]\n")
        self._empty = True

    def write(self, frame: Frame, detections: Detections) -> None:
        """Add the targets of a frame."""
        rows = [json.dumps(row, allow_nan=False, separators=(",", ":")) for row in detections.to_coco()]
        # Without targets too, so that the file of an earlier run is gone with the first frame.
        self._file.append(((("\n" if self._empty else ",\n") if rows else "") + ",\n".join(rows)).encode())
        self._empty = self._empty and not rows

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def abandon(self) -> None:
        """Close without a frame: an older file stays as it was."""
        self._file.abandon()


class Mot:
    """A MOT challenge text file: `frame,id,left,top,width,height,score,-1,-1,-1`, frames and pixels from 1."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._file = GrowingFile(path)

    def write(self, frame: Frame, detections: Detections) -> None:
        """Add the lines of a frame; a frame without targets has none."""
        self._file.append("".join(f"{line}\n" for line in detections.to_mot()).encode())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def abandon(self) -> None:
        """Close without a frame: an older file stays as it was."""
        self._file.abandon()
