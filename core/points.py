# SPDX-License-Identifier: Apache-2.0
"""Point labels: one pixel (row, column) for each target, what may be one, and their form as CSV.

A coordinate (x, y) lies in column floor(x) and row floor(y): the centre of a pixel is its index plus 0.5. A frame is
known by the name of its file without folder and suffix. A frame that a file lists without points holds no target; one
that it does not list has no label.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.core.atomic import write_whole
from pitviper.core.datasets import DatasetError

__all__ = [
    "COLUMNS",
    "LabelReader",
    "PointLabels",
    "PointTable",
    "Points",
    "format_points",
    "frame_name",
    "read_table",
    "require_points",
    "write_points",
]

Points = NDArray[np.int32]
"""[N, 2], (row, column) of a pixel."""
PointLabels = dict[str, Points]
"""Points of each labelled frame by its name."""
COLUMNS: Final = ("image", "row", "column")
"""What is written; ``x, y`` and ``id`` are read too."""

_COORDINATES: Final = (("row", "column"), ("y", "x"))


@dataclass(frozen=True)
class PointTable:
    """A CSV file of points.

    Attributes:
        labels: Points by frame.
        files: What each frame is called in the file.
        columns: The header, in lower case.
    """

    labels: PointLabels
    files: dict[str, str]
    columns: tuple[str, ...]


def frame_name(file: str) -> str:
    """Name of the frame in a file, by which labels know it; empty where there is none."""
    return Path(file.strip().replace("\\", "/")).stem


def require_points(points: Points, shape: tuple[int, int], *, name: str) -> Points:
    """Refuse points that cannot label a frame.

    Args:
        points: [N, 2] integers.
        shape: (H, W) of the frame.
        name: Of the frame, for messages.

    Returns:
        The same points.

    Raises:
        DatasetError: A point outside the frame, or two on one pixel.
    """
    if points.ndim != 2 or points.shape[1] != 2:
        raise DatasetError(f"{name}: points are [N, 2] (row, column), got {list(points.shape)}")
    inside = ((points >= 0) & (points < np.array(shape))).all(axis=1)
    if not inside.all():
        row, column = points[~inside][0]
        raise DatasetError(
            f"{name}: the point at row {row}, column {column} is outside the frame of {shape[0]}x{shape[1]} (H x W); "
            "rows and columns count from 0, or the point belongs to another frame: correct or remove it"
        )
    different, counts = np.unique(points, axis=0, return_counts=True)
    if (counts > 1).any():
        row, column = different[counts > 1][0]
        raise DatasetError(
            f"{name}: {counts.max()} points at row {row}, column {column}; a target has one point: remove the others"
        )
    return points


def format_points(labels: PointLabels, files: Mapping[str, str] | None = None) -> str:
    """Labels as CSV (``image, row, column``) that ``read_table`` reads back.

    Args:
        labels: Points by frame.
        files: What a frame is to be called, for those that need more than their name.

    Raises:
        DatasetError: A frame would be read back under another name, as ``night.01`` without its suffix would.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for name, points in labels.items():
        file = (files or {}).get(name, name)
        if not name or frame_name(file) != name:
            raise DatasetError(
                f"a frame {name!r} that is listed as {file!r} would be read as {frame_name(file)!r}; name the file "
                "with its suffix and without spaces at its ends or backslashes"
            )
        table.writerows([(file, int(row), int(column)) for row, column in points] or [(file, "", "")])
    return text.getvalue()


def write_points(path: Path, labels: PointLabels, files: Mapping[str, str] | None = None) -> None:
    """Replace a file by what ``format_points`` gives, whole or not at all.

    Raises:
        DatasetError: As there. OSError: It cannot be written; the one before is kept.
    """
    write_whole(path, format_points(labels, files).encode())


class LabelReader:
    """Collects points that come in one after another, and holds what must be there once only.

    Args:
        path: What is read, for messages.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.points: dict[str, list[tuple[int, int]]] = {}
        self.files: dict[str, str] = {}
        self._ids: set[str] = set()

    def frame(self, file: str) -> str:
        """Name of the frame in a file, which is listed from now on."""
        name = frame_name(file)
        if not name:
            raise DatasetError(f"{self.path}: an entry names no image")
        if self.files.setdefault(name, file) != file:
            raise DatasetError(
                f"{self.path}: {self.files[name]} and {file} are both called {name!r}; frames are known by their file "
                "names, so rename one of them"
            )
        self.points.setdefault(name, [])
        return name

    def identity(self, value: object, what: str) -> None:
        """Note an id."""
        key = f"{what} {value}"
        if key in self._ids:
            raise DatasetError(
                f"{self.path}: {key} comes twice; every id is one {what.split()[0]}'s: renumber them"
            )
        self._ids.add(key)

    def add(self, name: str, x: Any, y: Any) -> None:
        """Note a point at (x, y)."""
        try:
            column, row = math.floor(float(x)), math.floor(float(y))
        except (TypeError, ValueError, OverflowError) as error:
            raise DatasetError(
                f"{self.path}: a point of {name} is at x={x!r}, y={y!r}, which are no numbers"
            ) from error
        self.points[name].append((row, column))

    def result(self) -> PointLabels:
        """Arrays of what was noted."""
        if not self.points:
            raise DatasetError(f"{self.path}: lists no frame; label some first")
        return {name: np.array(each, np.int32).reshape(-1, 2) for name, each in self.points.items()}


def read_table(path: Path, *, empty: bool = False) -> PointTable:
    """Read a CSV file of points.

    Its header has ``image`` and ``row, column`` or ``x, y``, and ``id`` where there is one. One line for each point; a
    line with both coordinates empty lists a frame without target.

    Args:
        path: The file.
        empty: Whether a header alone is enough.

    Raises:
        DatasetError: It is no such table, an id or a frame comes twice, or a coordinate is no number; the message names
            the file, the entry and the fix.
    """
    reader = LabelReader(path)
    none = set()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, strict=True)
            header = [(name or "").strip().lower() for name in rows.fieldnames or ()]
            rows.fieldnames = header
            kinds = [pair for pair in _COORDINATES if set(pair) <= set(header)]
            if "image" not in header or len(kinds) != 1:
                raise DatasetError(
                    f"{path}: the first line names the columns image and row,column or x,y; it has "
                    f"{', '.join(header) or 'nothing'}"
                )
            vertical, horizontal = kinds[0]
            for row in rows:
                name = reader.frame(row["image"] or "")
                if row.get("id"):
                    reader.identity(row["id"].strip(), "point id")
                y, x = (row[vertical] or "").strip(), (row[horizontal] or "").strip()
                if x or y:
                    reader.add(name, x, y)
                else:
                    none.add(name)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: no table of comma-separated UTF-8 text ({error})") from error
    for name in sorted(none):
        if reader.points[name]:
            raise DatasetError(
                f"{path}: {name} has points and a line that says it has none; remove one of them"
            )
    if empty and not reader.points:
        return PointTable({}, {}, tuple(header))
    return PointTable(reader.result(), reader.files, tuple(header))
