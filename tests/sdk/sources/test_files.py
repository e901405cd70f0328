# SPDX-License-Identifier: Apache-2.0
"""Image files as a source: order, depth, and what happens at a broken one."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pitviper import sdk
from pitviper.sdk.sources import open_source


def counts(seed: int, shape: tuple[int, int] = (40, 48)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**14, shape).astype(np.uint16)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2, 10):
        Image.fromarray(counts(number)).save(tmp_path / f"f{number}.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    return tmp_path


def test_folder_in_natural_order_with_all_bits(folder: Path) -> None:
    with open_source(folder) as source:
        frames = list(source)
    assert [frame.name for frame in frames] == ["f1.png", "f2.png", "f10.png"]
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert source.info.count == 3
    for frame, number in zip(frames, (1, 2, 10), strict=True):
        assert frame.image.dtype == np.uint16
        assert np.array_equal(frame.image, counts(number))
    hosts = [frame.time.host_ns for frame in frames]
    assert hosts == sorted(hosts)
    assert frames[0].time.sensor_ns is None


def test_glob_list_and_single_file(folder: Path) -> None:
    assert [frame.name for frame in open_source(f"{folder}/f1*.png")] == ["f1.png", "f10.png"]
    given = [folder / "f10.png", folder / "f1.png"]
    assert [frame.name for frame in open_source(given)] == ["f10.png", "f1.png"]
    (only,) = open_source(str(folder / "f2.png"))
    assert np.array_equal(only.image, counts(2))


def test_sixteen_bit_tiff_of_both_byte_orders(tmp_path: Path) -> None:
    frame = counts(5)
    Image.fromarray(frame).save(tmp_path / "little.tif")
    big = Image.frombytes("I;16B", (48, 40), frame.astype(">u2").tobytes())
    big.save(tmp_path / "big.tif")
    for name in ("little.tif", "big.tif"):
        (read,) = open_source(tmp_path / name)
        assert np.array_equal(read.image, frame), name
        assert read.image.dtype == np.uint16


def test_several_pages_are_refused_not_dropped(tmp_path: Path) -> None:
    pages = [Image.fromarray(counts(seed)) for seed in (1, 2)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(sdk.SourceError, match="2 pages"):
        next(open_source(tmp_path / "stack.tif"))


def test_colour_planes_equal_are_one_and_unequal_refused(tmp_path: Path) -> None:
    gray = (counts(3) >> 6).astype(np.uint8)
    Image.fromarray(np.dstack([gray] * 3)).save(tmp_path / "equal.png")
    Image.fromarray(np.dstack([gray, gray, 255 - gray])).save(tmp_path / "palette.png")
    (frame,) = open_source(tmp_path / "equal.png")
    assert np.array_equal(frame.image, gray)
    with pytest.raises(sdk.SourceError, match="palette is no temperature"):
        next(open_source(tmp_path / "palette.png"))


def test_jpeg_is_flagged_lossy(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 48), 90, np.uint8)).save(tmp_path / "a.jpg")
    source = open_source(tmp_path)
    assert source.info.lossy
    assert next(source).flags == ("lossy",)


def test_broken_image_in_the_middle(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = (folder / "f2.png").read_bytes()
    (folder / "f2.png").write_bytes(whole[: len(whole) // 2])
    source = open_source(folder)
    assert next(source).name == "f1.png"
    with pytest.raises(sdk.SourceError, match=r"f2\.png.*1 of 3 files.*on_error") as caught:
        next(source)
    assert isinstance(caught.value, OSError)
    source.close()

    with caplog.at_level(logging.WARNING, "pitviper.sources"):
        source = open_source(folder, on_error="skip")
        frames = list(source)
    assert [(frame.name, frame.index, frame.flags) for frame in frames] == [
        ("f1.png", 0, ()),
        ("f10.png", 2, ("after_gap",)),
    ]
    assert source.skipped == 1
    assert "f2.png" in caplog.text
    assert "on_error" not in caplog.text


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("missing.png", "no such file or folder"),
        ("missing/*.png", "matches 0 files"),
        (".", "without an image"),
    ],
)
def test_what_is_not_there(tmp_path: Path, spec: str, message: str) -> None:
    with pytest.raises(sdk.SourceError, match=message):
        open_source(f"{tmp_path}/{spec}")


def test_close_ends_the_iteration_and_may_be_repeated(folder: Path) -> None:
    source = open_source(folder)
    next(source)
    source.close()
    source.close()
    assert list(source) == []


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, ">u2", np.float32])
def test_an_array_file_is_read_like_the_array(tmp_path: Path, kind: Any) -> None:
    frames = np.random.default_rng(2).integers(0, 255, (3, 40, 48)).astype(kind)
    np.save(tmp_path / "Frames.NPY", frames)
    (tmp_path / "Frames.NPY.npy").rename(tmp_path / "Frames.NPY")
    with open_source(str(tmp_path / "Frames.NPY")) as source:
        assert (source.info.count, source.info.width, source.info.height) == (3, 48, 40)
        assert source.files == (tmp_path / "Frames.NPY",), "no output may replace it"
        for index, frame in enumerate(source):
            assert np.array_equal(frame.image, frames[index])
            assert frame.image.dtype == np.dtype(kind).newbyteorder("=")
            assert frame.index == index


def test_an_array_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "frames.npy"
    for content in (b"", b"no array at all", b"\x93NUMPY\x01\x00"):
        path.write_bytes(content)
        with pytest.raises(
            sdk.SourceError, match=r"frames\.npy: no array of numbers .* numpy\.save\(path, frames\)"
        ):
            open_source(str(path))
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(sdk.SourceError, match="no array of numbers"):
        open_source(str(path))
    np.save(path, np.zeros(7, np.uint16))
    with pytest.raises(sdk.InputError, match=r"must be \[N, H, W\] or \[H, W\], got 1-D"):
        open_source(str(path))


@pytest.fixture
def coloured(tmp_path: Path) -> Path:
    gray = np.random.default_rng(1).integers(0, 256, (40, 48)).astype(np.uint8)
    Image.fromarray(np.dstack([gray, gray, gray // 2 * 2])).save(tmp_path / "a.png")
    Image.fromarray(np.dstack([gray, gray, gray])).save(tmp_path / "b.png")
    Image.fromarray(np.dstack([gray, gray, gray // 2 * 2])).save(tmp_path / "c.png")
    return tmp_path


def test_colour_pictures_are_refused_with_the_way_to_take_them(coloured: Path) -> None:
    with pytest.raises(sdk.SourceError, match=r"a\.png: three unequal.*--source-option colour=luma"):
        list(open_source(coloured))


@pytest.mark.parametrize("listed", [False, True])
def test_luma_of_colour_pictures_when_asked_for(
    coloured: Path, listed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    spec: Any = sorted(coloured.iterdir()) if listed else coloured
    with caplog.at_level(logging.WARNING, "pitviper.sources"):
        frames = list(open_source(spec, options={"colour": "luma"}))
    assert [frame.flags for frame in frames] == [("colour_ignored",), (), ("colour_ignored",)]
    first, gray = frames[0].image.astype(int), frames[1].image.astype(int)
    assert np.abs(first - gray).max() <= 1, "a plane less by at most 1 weighs 0.114"
    assert caplog.text.count("only their luma is used") == 1


def test_options_of_image_files_are_checked(coloured: Path) -> None:
    with pytest.raises(sdk.InputError, match="no option video_size; they take colour"):
        open_source(coloured, options={"video_size": "640x512"})
    with pytest.raises(sdk.InputError, match="refuse or luma, got 'gray'"):
        open_source(coloured, options={"colour": "gray"})
    np.save(coloured / "frames.npy", np.zeros((2, 40, 48), np.uint8))
    with pytest.raises(sdk.InputError, match=r"frames\.npy: options \(colour\) are for image files"):
        open_source(coloured / "frames.npy", options={"colour": "luma"})
