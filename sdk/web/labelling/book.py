# SPDX-License-Identifier: Apache-2.0
"""`LabelBook`: the points of a folder of frames, saved after every change, with undo and redo."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Final

import numpy as np

from pitviper.core.atomic import write_whole
from pitviper.core.datasets import DatasetError
from pitviper.core.points import COLUMNS, format_points, read_table, require_points
from pitviper.sdk.errors import InputError, SinkError, SourceError
from pitviper.sdk.web.labelling.frames import FrameFolder

__all__ = ["LabelBook"]

_STEPS: Final = 10_000
Pixels = tuple[tuple[int, int], ...]


class LabelBook:
    """Labels of frames, and the file that they are kept in. Safe to call from many threads.

    A change counts at once and is written at once. Where it cannot be written it still counts: `status` says why, every
    later change tries again, and the file keeps what it held.

    Args:
        frames: What is labelled.
        out: CSV file; labels in it are continued, also those of frames that are not here.

    Attributes:
        elsewhere: Labelled frames in the file that are not here; they are kept as they are.

    Raises:
        InputError: ``out`` is no CSV file, or one whose columns would be lost.
        DatasetError: It cannot be read, or holds a point outside its frame.
    """

    def __init__(self, frames: FrameFolder, out: Path) -> None:
        self._lock = threading.RLock()
        self._frames = frames
        self._out = out
        self._shapes: dict[int, tuple[int, int]] = {}
        self._undone: list[tuple[int, Pixels | None, Pixels | None]] = []
        self._done: list[tuple[int, Pixels | None, Pixels | None]] = []
        self._unsaved = ""
        if out.suffix.lower() != ".csv":
            raise InputError(f"--out {out}: points are written as CSV; name it points.csv or the like")
        self._written = out.read_bytes() if out.is_file() else None
        labels, self._files = _read(out) if self._written is not None else ({}, {})
        names = set(frames.names)
        self._elsewhere = {name: pixels for name, pixels in labels.items() if name not in names}
        self._labels = [labels.get(name) for name in frames.names]
        self.elsewhere = len(self._elsewhere)
        for index, pixels in enumerate(self._labels):
            if pixels:
                self._require(index, pixels)

    def status(self) -> dict[str, Any]:
        """Counts of frames and points, what can be undone, and why the last change is not on the disk; for JSON."""
        with self._lock:
            labelled = [pixels for pixels in self._labels if pixels is not None]
            return {
                "frames": len(self._labels),
                "labelled": len(labelled),
                "empty": sum(not pixels for pixels in labelled),
                "points": sum(map(len, labelled)),
                "can_undo": bool(self._done),
                "can_redo": bool(self._undone),
                "unsaved": self._unsaved,
            }

    def overview(self) -> dict[str, Any]:
        """What the page is about: the source, the file, and each frame's name and number of points (-1: no label)."""
        with self._lock:
            counts = [-1 if pixels is None else len(pixels) for pixels in self._labels]
        return {
            "source": self._frames.name,
            "out": str(self._out),
            "elsewhere": self.elsewhere,
            "names": [path.name for path in self._frames.paths],
            "counts": counts,
        }

    def frame(self, index: int) -> dict[str, Any]:
        """One frame: size, label, and what is wrong with its file; for JSON."""
        problem, shape = "", None
        try:
            shape = self._shape(index)
        except SourceError as error:
            problem = str(error)
        with self._lock:
            pixels = self._labels[index]
        return {
            "index": index,
            "name": self._frames.paths[index].name,
            "height": shape[0] if shape else None,
            "width": shape[1] if shape else None,
            "labelled": pixels is not None,
            "points": [list(pixel) for pixel in pixels or ()],
            "problem": problem,
        }

    def add(self, index: int, row: int, column: int) -> int:
        """Add a point, also to a frame that was said to hold none.

        Returns:
            The frame that changed, as all changes do.

        Raises:
            DatasetError: Outside the frame, or there is one on this pixel. SourceError: The frame cannot be read.
        """
        with self._lock:
            return self._change(index, (*(self._labels[index] or ()), (row, column)))

    def remove(self, index: int, row: int, column: int) -> int:
        """Remove a point; a frame that has no other loses its label.

        Raises:
            DatasetError: There is none.
        """
        with self._lock:
            place = self._find(index, row, column)
            pixels = self._labels[index] or ()
            return self._change(index, (*pixels[:place], *pixels[place + 1 :]) or None)

    def move(self, index: int, row: int, column: int, to_row: int, to_column: int) -> int:
        """Move a point. Raises as `add` and `remove` do."""
        with self._lock:
            place = self._find(index, row, column)
            pixels = self._labels[index] or ()
            return self._change(index, (*pixels[:place], (to_row, to_column), *pixels[place + 1 :]))

    def mark(self, index: int, empty: bool) -> int:
        """Say that a frame holds no target, or take that back.

        Raises:
            DatasetError: It has points.
        """
        with self._lock:
            if self._labels[index]:
                raise DatasetError(f"{self._frames.names[index]} has points; remove them first")
            return self._change(index, () if empty else None)

    def undo(self) -> int:
        """Take the last change back.

        Raises:
            DatasetError: There is none.
        """
        return self._step(self._done, self._undone, "undo")

    def redo(self) -> int:
        """Make the change again that was taken back last.

        Raises:
            DatasetError: There is none.
        """
        return self._step(self._undone, self._done, "redo")

    def save(self) -> None:
        """Write what is not written yet.

        Raises:
            SinkError: It cannot be written; the labels stay here.
        """
        with self._lock:
            self._write()
            if self._unsaved:
                raise SinkError(self._unsaved)

    def text(self) -> str:
        """All labels as CSV: those of other frames as they were, then those of these frames in order."""
        with self._lock:
            named = zip(self._frames.names, self._labels, strict=True)
            here = {name: pixels for name, pixels in named if pixels is not None}
            files = self._files | {path.stem: path.name for path in self._frames.paths}
            return format_points(
                {name: _array(pixels) for name, pixels in (self._elsewhere | here).items()}, files
            )

    def _shape(self, index: int) -> tuple[int, int]:
        if index not in self._shapes:
            self._shapes[index] = self._frames.shape(index)
        return self._shapes[index]

    def _require(self, index: int, pixels: Pixels) -> None:
        require_points(_array(pixels), self._shape(index), name=self._frames.names[index])

    def _find(self, index: int, row: int, column: int) -> int:
        pixels = self._labels[index] or ()
        if (row, column) not in pixels:
            raise DatasetError(
                f"{self._frames.names[index]} has no point at row {row}, column {column}; it was removed elsewhere"
            )
        return pixels.index((row, column))

    def _change(self, index: int, after: Pixels | None) -> int:
        before = self._labels[index]
        if after:
            self._require(index, after)
        if after == before:
            return index
        self._labels[index] = after
        self._done.append((index, before, after))
        del self._done[:-_STEPS]
        self._undone.clear()
        self._write()
        return index

    def _step(self, taken: list[Any], given: list[Any], what: str) -> int:
        with self._lock:
            if not taken:
                raise DatasetError(f"there is nothing to {what}")
            index, before, after = taken.pop()
            self._labels[index] = before
            given.append((index, after, before))
            self._write()
            return int(index)

    def _write(self) -> None:
        content = self.text().encode()
        try:
            found = self._out.read_bytes() if self._out.is_file() else None
            if found is not None and found != self._written:
                self._unsaved = (
                    f"{self._out} was changed by another program and is not replaced; move it away to save these "
                    "labels, or start again to go on with it."
                )
                return
            write_whole(self._out, content)
        except OSError as error:
            self._unsaved = (
                f"{self._out} cannot be written ({error.strerror or error}); the labels are kept in memory and the "
                "file holds what it held. Make room, then save again."
            )
            return
        self._written, self._unsaved = content, ""


def _array(pixels: Pixels) -> Any:
    return np.array(pixels, np.int32).reshape(-1, 2)


def _read(path: Path) -> tuple[dict[str, Pixels], dict[str, str]]:
    table = read_table(path, empty=True)
    if set(table.columns) != set(COLUMNS):
        raise InputError(
            f"{path} has the columns {', '.join(table.columns)}, and only {', '.join(COLUMNS)} would be kept; take "
            "another --out, or reduce a copy of it to those"
        )
    labels = {name: tuple((int(r), int(c)) for r, c in points) for name, points in table.labels.items()}
    return labels, table.files
