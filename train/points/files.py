# SPDX-License-Identifier: Apache-2.0
"""Point labels from files that people have: COCO, CSV and labelme.

A coordinate (x, y) lies in column floor(x) and row floor(y): the centre of a pixel is its index plus 0.5. A frame is
known by the name of its file without folder and suffix. A frame that a file lists without points holds no target; one
that it does not list has no label.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pitviper.core.datasets import DatasetError
from pitviper.train.points.labels import Points
from pitviper.train.state import write_whole

PointLabels = dict[str, Points]
"""Points of each labelled frame by its name."""

_COLUMNS = (("row", "column"), ("y", "x"))


def read_points(path: str | Path) -> PointLabels:
    """Read point labels.

    Args:
        path: One of:

            - ``.csv`` with a header: ``image`` and ``row, column`` or ``x, y``, and ``id`` where there is one. One line
              for each point; a line with both coordinates empty lists a frame without target.
            - ``.json`` of COCO: each annotation gives its first visible keypoint, or the centre of its ``bbox``.
            - Folder of labelme files: shapes of type ``point``.

    Raises:
        DatasetError: The file cannot be read as what its name says, an id or a frame comes twice, or a coordinate is no
            number; the message names the file, the entry and the fix. Whether points lie inside their frames is told
            by ``labels.require_points``, which knows the frames.
    """
    path = Path(path)
    if path.is_dir():
        return _read_labelme(path)
    if not path.is_file():
        raise DatasetError(f"{path}: no such file or folder of points")
    readers = {".csv": _read_csv, ".json": _read_coco}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DatasetError(
            f"{path}: points are read from .csv, from .json (COCO) or from a folder of labelme files"
        )
    return reader(path)


def write_points(path: Path, labels: PointLabels) -> None:
    """Write labels as CSV (``image, row, column``) that ``read_points`` reads back."""
    lines = ["image,row,column"]
    for name, points in labels.items():
        lines += [f"{name},{row},{column}" for row, column in points] or [f"{name},,"]
    write_whole(path, ("\n".join(lines) + "\n").encode())


class _Labels:
    """Points that come in one after another, with what must be there once only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.points: dict[str, list[tuple[int, int]]] = {}
        self.files: dict[str, str] = {}
        self.ids: set[str] = set()

    def frame(self, file: str) -> str:
        """Name of the frame in a file, which is listed from now on."""
        name = Path(file.strip().replace("\\", "/")).stem
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
        if key in self.ids:
            raise DatasetError(
                f"{self.path}: {key} comes twice; every id is one {what.split()[0]}'s: renumber them"
            )
        self.ids.add(key)

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


def _read_csv(path: Path) -> PointLabels:
    labels, empty = _Labels(path), set()
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, strict=True)
            header = [(name or "").strip().lower() for name in rows.fieldnames or ()]
            rows.fieldnames = header
            kinds = [pair for pair in _COLUMNS if set(pair) <= set(header)]
            if "image" not in header or len(kinds) != 1:
                raise DatasetError(
                    f"{path}: the first line names the columns image and row,column or x,y; it has "
                    f"{', '.join(header) or 'nothing'}"
                )
            vertical, horizontal = kinds[0]
            for row in rows:
                name = labels.frame(row["image"] or "")
                if row.get("id"):
                    labels.identity(row["id"].strip(), "point id")
                y, x = (row[vertical] or "").strip(), (row[horizontal] or "").strip()
                if x or y:
                    labels.add(name, x, y)
                else:
                    empty.add(name)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: no table of comma-separated UTF-8 text ({error})") from error
    for name in sorted(empty):
        if labels.points[name]:
            raise DatasetError(
                f"{path}: {name} has points and a line that says it has none; remove one of them"
            )
    return labels.result()


def _read_coco(path: Path) -> PointLabels:
    labels = _Labels(path)
    content = _read_json(path)
    if not isinstance(content.get("images"), list) or not isinstance(content.get("annotations"), list):
        raise DatasetError(
            f"{path}: COCO files hold the lists images and annotations; for labelme give the folder"
        )
    names: dict[Any, str] = {}
    for image in content["images"]:
        key, file = _field(path, image, "id"), str(_field(path, image, "file_name"))
        labels.identity(key, "image id")
        if Path(file.replace("\\", "/")).stem in labels.points:
            raise DatasetError(f"{path}: image {file} is listed twice; merge the two entries")
        names[key] = labels.frame(file)
    for annotation in content["annotations"]:
        labels.identity(_field(path, annotation, "id"), "annotation id")
        image = _field(path, annotation, "image_id")
        if image not in names:
            raise DatasetError(
                f"{path}: annotation {annotation['id']} is of image {image}, which is not listed"
            )
        labels.add(names[image], *_coco_point(path, annotation))
    return labels.result()


def _coco_point(path: Path, annotation: dict[str, Any]) -> tuple[Any, Any]:
    keypoints = annotation.get("keypoints") or []
    for x, y, visible in zip(keypoints[0::3], keypoints[1::3], keypoints[2::3], strict=False):
        if visible:
            return x, y
    box = annotation.get("bbox") or []
    if len(box) == 4:
        return box[0] + box[2] / 2, box[1] + box[3] / 2
    raise DatasetError(
        f"{path}: annotation {annotation['id']} has neither a visible keypoint nor a bbox of four numbers"
    )


def _read_labelme(folder: Path) -> PointLabels:
    labels = _Labels(folder)
    for path in sorted(folder.glob("*.json")):
        content = _read_json(path)
        file = str(_field(path, content, "imagePath"))
        name = Path(file.replace("\\", "/")).stem
        if name in labels.points:
            raise DatasetError(f"{path}: a second file for {file}; merge the two")
        labels.frame(file)
        for x, y in _labelme_points(path, content):
            labels.add(name, x, y)
    if not labels.points:
        raise DatasetError(f"{folder}: holds no .json file of labelme")
    return labels.result()


def _labelme_points(path: Path, content: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    for shape in _field(path, content, "shapes"):
        kind, corners = shape.get("shape_type"), shape.get("points")
        if kind != "point" or not isinstance(corners, list) or len(corners) != 1 or len(corners[0]) != 2:
            raise DatasetError(
                f"{path}: a shape of type {kind!r}; only points are read: replace it by one, or train from masks"
            )
        yield corners[0][0], corners[0][1]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: holds a JSON {type(content).__name__}, not an object")
    return content


def _field(path: Path, entry: Any, name: str) -> Any:
    if not isinstance(entry, dict) or name not in entry:
        raise DatasetError(f"{path}: an entry has no {name!r}: {str(entry)[:80]}")
    return entry[name]
