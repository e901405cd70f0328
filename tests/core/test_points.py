# SPDX-License-Identifier: Apache-2.0
"""Points as CSV: every name of a file that people have comes back, or is refused before anything is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pitviper.core.datasets import DatasetError
from pitviper.core.points import PointLabels, format_points, frame_name, read_table, write_points

NONE = np.zeros((0, 2), np.int32)


def one(row: int, column: int) -> np.ndarray:
    return np.array([[row, column]], np.int32)


@pytest.mark.parametrize(
    "file", ["night.01.png", 'a,"b".png', "two\nlines.tif", "día 3.png", "=1+2.png", "a b .png"]
)
def test_any_file_name_comes_back(tmp_path: Path, file: str) -> None:
    name = Path(file).stem
    path = tmp_path / "points.csv"
    write_points(path, {name: one(3, 4), "other": NONE}, {name: file})
    table = read_table(path)
    assert {key: each.tolist() for key, each in table.labels.items()} == {name: [[3, 4]], "other": []}
    assert table.files == {name: file, "other": "other"}
    assert table.columns == ("image", "row", "column")


@pytest.mark.parametrize("name", ["night.01", " a", "a\\b", ""])
def test_a_name_that_would_come_back_as_another_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "points.csv"
    write_points(path, {"a": NONE})
    with pytest.raises(DatasetError, match="would be read as"):
        write_points(path, {name: one(1, 2)})
    assert read_table(path).labels.keys() == {"a"}, "what was there is kept"


def test_a_header_alone_is_a_beginning_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    nothing: PointLabels = {}
    path.write_text(format_points(nothing))
    assert read_table(path, empty=True).labels == {}
    with pytest.raises(DatasetError, match="lists no frame"):
        read_table(path)


def test_frames_are_known_by_their_files() -> None:
    assert [frame_name(each) for each in ("a.png", "in/a.tif", "in\\a.b.png ", "..")] == [
        "a",
        "a",
        "a.b",
        "..",
    ]
