# SPDX-License-Identifier: Apache-2.0
"""Masks and annotated frames as PNG files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pitviper import sdk
from pitviper.sdk.sinks import Masks, Pictures


def test_masks_are_exact_and_named_by_index(tmp_path: Path, shots: list[Any]) -> None:
    sink = Masks(tmp_path / "deep" / "masks")
    for frame, found in shots:
        sink.write(frame, found)
    sink.close()
    sink.close()
    files = sorted((tmp_path / "deep" / "masks").iterdir())
    assert [path.name for path in files] == [f"{index:06d}.png" for index in range(12)]
    for path, (_, found) in zip(files, shots, strict=True):
        mask = np.asarray(Image.open(path))
        assert mask.dtype == np.uint8
        assert np.array_equal(mask, found.mask * 255)
        assert int((mask > 0).sum()) == int(found.area_px.sum())


def test_masks_take_the_names_of_the_files_and_lose_none(tmp_path: Path, shot: Callable[..., Any]) -> None:
    sink = Masks(tmp_path / "m")
    sink.write(*shot(0, {(5, 5): 2}, name="a.tif"))
    sink.write(*shot(1, {(9, 9): 3}, name="a.png"))
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["a-000001.png", "a.png"]


def test_old_masks_are_not_mixed_with_new_ones(tmp_path: Path) -> None:
    (tmp_path / "000000.png").write_bytes(b"old")
    with pytest.raises(sdk.SinkError, match=r"already holds 1 PNG files; empty it"):
        Masks(tmp_path)
    assert (tmp_path / "000000.png").read_bytes() == b"old"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("")
    with pytest.raises(sdk.SinkError, match="choose another name"):
        Masks(tmp_path / "m")
    with pytest.raises(sdk.SinkError, match="not a folder"):
        Masks(tmp_path / "m" / "n")


def test_folder_that_went_away(tmp_path: Path, shots: list[Any]) -> None:
    sink = Masks(tmp_path / "m")
    (tmp_path / "m").rmdir()
    with pytest.raises(sdk.SinkError, match=r"000000\.png: cannot be written"):
        sink.write(*shots[0])


def test_pictures_show_what_annotate_draws_in_any_sizes(tmp_path: Path, shot: Callable[..., Any]) -> None:
    taken = [
        shot(0, {(5, 5): 2}, shape=(48, 64), name="a.tif"),
        shot(1, {(9, 9): 3}, shape=(40, 80), name="b.tif"),
        shot(2, {}, shape=(40, 80)),
    ]
    sink = Pictures(tmp_path / "p", scale=2)
    for frame, found in taken:
        sink.write(frame, found)
    sink.close()
    files = sorted((tmp_path / "p").iterdir())
    assert [path.name for path in files] == ["000002.png", "a.png", "b.png"]
    for (frame, found), path in zip(taken[:2], files[1:], strict=True):
        assert np.array_equal(np.asarray(Image.open(path)), sdk.annotate(frame, found, scale=2))
    with pytest.raises(sdk.SinkError, match="already holds 3 PNG files"):
        Pictures(tmp_path / "p")
