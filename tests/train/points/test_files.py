# SPDX-License-Identifier: Apache-2.0
"""Points from CSV, COCO and labelme files, and every way in which such a file can be wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pitviper.core.datasets import DatasetError
from pitviper.core.points import write_points
from pitviper.train.points.files import read_points


def csv_file(folder: Path, text: str) -> Path:
    path = folder / "points.csv"
    path.write_text(text)
    return path


def coco_file(folder: Path, images: list[Any], annotations: list[Any]) -> Path:
    path = folder / "points.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def labelme_file(folder: Path, image: str, points: list[Any], *, kind: str = "point", name: str = "") -> Path:
    shapes = [{"label": "target", "shape_type": kind, "points": [p]} for p in points]
    path = folder / f"{name or Path(image).stem}.json"
    path.write_text(json.dumps({"imagePath": image, "shapes": shapes}))
    return path


def test_csv_of_pixels(tmp_path: Path) -> None:
    found = read_points(
        csv_file(tmp_path, "image,row,column\na.png,3,4\nframes/b.tif,0,0\na.png,9,8\nc.png,,\n")
    )
    assert {name: points.tolist() for name, points in found.items()} == {
        "a": [[3, 4], [9, 8]],
        "b": [[0, 0]],
        "c": [],
    }
    assert found["c"].shape == (0, 2)


def test_csv_of_coordinates(tmp_path: Path) -> None:
    """(x, y) = (4.5, 3.5) is the centre of the pixel in row 3, column 4; so is any other place in that pixel."""
    found = read_points(csv_file(tmp_path, "X, id,Y,image\n4.5,1,3.5,a\n4.0,2,3.99,b\n-0.5,3,1,c"))
    assert found["a"].tolist() == found["b"].tolist() == [[3, 4]]
    assert found["c"].tolist() == [[1, -1]], "outside, which is told where the frame is known"


def test_coco(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "sub/a.png"}, {"id": 8, "file_name": "b.png"}]
    annotations = [
        {"id": 1, "image_id": 7, "keypoints": [0, 0, 0, 4, 3, 2]},
        {"id": 2, "image_id": 7, "bbox": [10, 20, 3, 3]},
    ]
    found = read_points(coco_file(tmp_path, images, annotations))
    assert found["a"].tolist() == [[3, 4], [21, 11]]
    assert found["b"].shape == (0, 2), "an image without annotation has no target"


def test_labelme(tmp_path: Path) -> None:
    labelme_file(tmp_path, "..\\images\\a.png", [[4.5, 3.5], [8.2, 9.9]])
    labelme_file(tmp_path, "b.png", [])
    found = read_points(tmp_path)
    assert found["a"].tolist() == [[3, 4], [9, 8]]
    assert found["b"].shape == (0, 2)


def test_written_points_come_back(tmp_path: Path) -> None:
    labels = {"a": np.array([[3, 4], [9, 8]], np.int32), "b": np.zeros((0, 2), np.int32)}
    write_points(tmp_path / "points.csv", labels)
    found = read_points(tmp_path / "points.csv")
    assert list(found) == ["a", "b"]
    assert all(np.array_equal(found[name], labels[name]) for name in labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"the first line names the columns .*; it has nothing"),
        ("image,row\na,1", "it has image, row"),
        ("image,x,y,row,column\na,1,2,3,4", "the first line names"),
        ("image,x,y\na,one,2", "a point of a is at x='one', y='2'"),
        ("image,x,y\na,nan,2", "no numbers"),
        ("image,x,y\na,inf,2", "no numbers"),
        ("image,x,y\na,1,", "no numbers"),
        ("image,x,y\n,1,2", "names no image"),
        ("image,x,y,id\na,1,2,5\na,3,4,5", "point id 5 comes twice"),
        ("image,x,y\none/a.png,1,2\ntwo/a.png,1,2", "both called 'a'"),
        ("image,x,y\na,1,2\na,,", "a has points and a line that says it has none"),
        ("image,x,y\n", "lists no frame"),
    ],
)
def test_refused_csv(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_points(csv_file(tmp_path, text))


@pytest.mark.parametrize(
    ("images", "annotations", "message"),
    [
        ([{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], [], "image id 1 comes twice"),
        ([{"id": 1, "file_name": "a"}, {"id": 2, "file_name": "a"}], [], "image a is listed twice"),
        ([{"id": 1}], [], "no 'file_name'"),
        ([{"id": 1, "file_name": "a"}], [{"id": 3, "image_id": 2}], "of image 2, which is not listed"),
        ([{"id": 1, "file_name": "a"}], [{"id": 3, "image_id": 1}], "neither a visible keypoint nor a bbox"),
        (
            [{"id": 1, "file_name": "a"}],
            [{"id": 3, "image_id": 1, "bbox": [0, 0, 1, 1]}] * 2,
            "annotation id 3 comes twice",
        ),
        ([], [], "lists no frame"),
    ],
)
def test_refused_coco(tmp_path: Path, images: list[Any], annotations: list[Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_points(coco_file(tmp_path, images, annotations))


def test_refused_labelme(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"holds no \.json file"):
        read_points(tmp_path)
    labelme_file(tmp_path, "a.png", [[1, 1]])
    labelme_file(tmp_path, "other/a.png", [[1, 1]], name="second")
    with pytest.raises(DatasetError, match=r"second\.json: a second file for other/a\.png"):
        read_points(tmp_path)
    (tmp_path / "second.json").unlink()
    labelme_file(tmp_path, "a.png", [[1, 1]], kind="polygon")
    with pytest.raises(DatasetError, match="a shape of type 'polygon'; only points are read"):
        read_points(tmp_path)


def test_refused_files(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file or folder"):
        read_points(tmp_path / "missing.csv")
    (tmp_path / "points.txt").write_text("1 2")
    with pytest.raises(DatasetError, match=r"read from \.csv"):
        read_points(tmp_path / "points.txt")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DatasetError, match="not valid JSON"):
        read_points(tmp_path / "broken.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(DatasetError, match="a JSON list"):
        read_points(tmp_path / "list.json")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DatasetError, match="UTF-8"):
        read_points(tmp_path / "binary.csv")
