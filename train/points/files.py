# SPDX-License-Identifier: Apache-2.0
"""Point labels from files that people have: COCO, CSV and labelme.

What they mean is defined in ``pitviper.core.points``, with the CSV.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pitviper.core.datasets import DatasetError
from pitviper.core.points import LabelReader, PointLabels, read_table


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
            by ``core.points.require_points``, which knows the frames.
    """
    path = Path(path)
    if path.is_dir():
        return _read_labelme(path)
    if not path.is_file():
        raise DatasetError(f"{path}: no such file or folder of points")
    if path.suffix.lower() == ".csv":
        return read_table(path).labels
    if path.suffix.lower() == ".json":
        return _read_coco(path)
    raise DatasetError(
        f"{path}: points are read from .csv, from .json (COCO) or from a folder of labelme files"
    )


def _read_coco(path: Path) -> PointLabels:
    labels = LabelReader(path)
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
    labels = LabelReader(folder)
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
