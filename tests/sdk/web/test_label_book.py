# SPDX-License-Identifier: Apache-2.0
"""Labels of a folder of frames: what is kept, what is taken back, what is refused, and a disk that is full."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="the extra web is not installed")

from pitviper import sdk
from pitviper.core.datasets import DatasetError, open_dataset
from pitviper.core.images import read_frame
from pitviper.core.points import read_table
from pitviper.sdk.sources import open_source
from pitviper.sdk.web.labelling import FrameFolder, LabelBook
from pitviper.sdk.web.labelling.extraction import extract_frames
from pitviper.train.points.files import read_points

SHAPE = (48, 64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "images"
    made.mkdir()
    for number in (1, 2, 10):
        frame = np.random.default_rng(number).normal(7800, 12, SHAPE).astype(np.uint16)
        frame[20, 30] += 400
        Image.fromarray(frame).save(made / f"night.{number}.png")
    return made


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "points.csv"


@pytest.fixture
def book(folder: Path, out: Path) -> LabelBook:
    return LabelBook(FrameFolder(str(folder)), out)


def on_disk(path: Path) -> dict[str, list[list[int]]]:
    return {name: points.tolist() for name, points in read_table(path, empty=True).labels.items()}


def test_every_change_is_on_the_disk_at_once(book: LabelBook, out: Path) -> None:
    book.add(0, 20, 30)
    assert on_disk(out) == {"night.1": [[20, 30]]}
    book.add(0, 47, 63)
    book.mark(2, True)
    assert on_disk(out) == {"night.1": [[20, 30], [47, 63]], "night.10": []}
    book.move(0, 20, 30, 21, 31)
    book.remove(0, 47, 63)
    assert on_disk(out) == {"night.1": [[21, 31]], "night.10": []}
    assert book.status() == {
        "frames": 3, "labelled": 2, "empty": 1, "points": 1, "can_undo": True, "can_redo": False, "unsaved": "",
    }  # fmt: skip
    assert out.read_text().splitlines()[1] == "night.1.png,21,31", "under the file's own name"


def test_training_reads_what_was_clicked(book: LabelBook, folder: Path, out: Path) -> None:
    """By the names of the frames: dots in a file's name are part of it."""
    book.add(0, 20, 30)
    book.mark(1, True)
    found = read_points(out)
    assert {name: points.tolist() for name, points in found.items()} == {"night.1": [[20, 30]], "night.2": []}
    assert found.keys() < {sample.name for sample in open_dataset(folder.parent, "train").samples}


def test_every_change_can_be_taken_back_and_made_again(book: LabelBook, out: Path) -> None:
    states = [{}]
    for change in (
        lambda: book.add(0, 20, 30), lambda: book.add(1, 3, 4), lambda: book.move(1, 3, 4, 5, 6),
        lambda: book.mark(2, True), lambda: book.remove(0, 20, 30), lambda: book.mark(2, False),
    ):  # fmt: skip
        change()
        states.append(on_disk(out))
    assert len({str(state) for state in states}) == 7
    for state in reversed(states[:-1]):
        book.undo()
        assert on_disk(out) == state
    with pytest.raises(DatasetError, match="nothing to undo"):
        book.undo()
    for state in states[1:]:
        book.redo()
        assert on_disk(out) == state
    book.undo()
    book.add(0, 1, 1)
    with pytest.raises(DatasetError, match="nothing to redo"):
        book.redo()


def test_labels_are_continued_and_others_kept(folder: Path, out: Path) -> None:
    out.write_text("image,row,column\nelse/where.tif,1,2\nnight.2.png,3,4\nnight.10.png,,\n")
    book = LabelBook(FrameFolder(str(folder)), out)
    assert book.elsewhere == 1
    assert book.overview()["counts"] == [-1, 1, 0]
    book.add(2, 9, 9)
    assert on_disk(out) == {"where": [[1, 2]], "night.2": [[3, 4]], "night.10": [[9, 9]]}
    assert "else/where.tif,1,2" in out.read_text()


def test_what_is_no_label_is_refused_and_changes_nothing(book: LabelBook, out: Path) -> None:
    book.add(0, 20, 30)
    for refused in (
        lambda: book.add(0, 48, 0), lambda: book.add(0, 0, 64), lambda: book.add(0, -1, 0), lambda: book.add(0, 20, 30),
        lambda: book.remove(0, 1, 1), lambda: book.move(0, 20, 30, 0, 64), lambda: book.move(0, 1, 1, 2, 2),
        lambda: book.mark(0, True), lambda: book.mark(0, False),
    ):  # fmt: skip
        with pytest.raises(DatasetError):
            refused()
    assert on_disk(out) == {"night.1": [[20, 30]]}
    book.undo()
    assert not book.status()["can_undo"], "what was refused left no step"


def test_a_full_disk_loses_nothing(
    book: LabelBook, out: Path, disk_of: Callable[[int], AbstractContextManager[None]]
) -> None:
    """The real system call fails, not a stand-in."""
    book.add(0, 20, 30)
    before = out.read_bytes()
    with disk_of(30):
        book.add(1, 3, 4)
        assert "File too large" in book.status()["unsaved"]
        assert out.read_bytes() == before
        with pytest.raises(sdk.SdkError, match="Make room"):
            book.save()
    assert book.frame(1)["points"] == [[3, 4]]
    book.add(1, 5, 6)
    assert book.status()["unsaved"] == ""
    assert on_disk(out) == {"night.1": [[20, 30]], "night.2": [[3, 4], [5, 6]]}
    assert [path.name for path in out.parent.iterdir() if path.is_file()] == ["points.csv"]


def test_a_file_that_another_program_changed_is_kept(book: LabelBook, out: Path) -> None:
    book.add(0, 20, 30)
    out.write_text("image,row,column\nnight.2.png,7,7\n")
    book.add(1, 3, 4)
    assert "changed by another program" in book.status()["unsaved"]
    assert on_disk(out) == {"night.2": [[7, 7]]}
    out.unlink()
    book.save()
    assert on_disk(out) == {"night.1": [[20, 30]], "night.2": [[3, 4]]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,x,y\nnight.1.png,3.5,4.5\n", "columns image, x, y"),
        ("image,row,column,id\nnight.1.png,3,4,1\n", "id"),
        ("image,row,column\nnight.1.png,48,0\n", "outside the frame of 48x64"),
        ("image,row,column\nnight.1.png,1,1\nnight.1.png,1,1\n", "2 points at row 1"),
        ("nothing", "the first line names the columns"),
    ],
)
def test_files_that_would_lose_something_are_refused(
    folder: Path, out: Path, text: str, message: str
) -> None:
    out.write_text(text)
    with pytest.raises((sdk.InputError, DatasetError), match=message):
        LabelBook(FrameFolder(str(folder)), out)
    assert out.read_text() == text


def test_frames_that_cannot_be_labelled_are_refused(folder: Path, tmp_path: Path) -> None:
    for source, message in (
        ("rtsp://user:secret@camera/stream", r"^rtsp://\*\*\*@camera/stream is live"),
        ("synthetic://sky?frames=3", "a synthetic source.*--frames"),
        (str(tmp_path / "none"), "no such file"),
    ):  # fmt: skip
        with pytest.raises((sdk.InputError, sdk.SourceError), match=message):
            FrameFolder(source)
    video = tmp_path / "video.mkv"
    video.write_bytes(b"x")
    with pytest.raises(sdk.InputError, match="is a video"):
        FrameFolder(str(video))
    (folder / "night.1.tif").write_bytes(b"x")
    with pytest.raises(sdk.SourceError, match=r"both called 'night\.1'"):
        FrameFolder(str(folder))


def test_an_unreadable_frame_can_be_passed(folder: Path, out: Path) -> None:
    (folder / "night.2.png").write_bytes(b"no image")
    book = LabelBook(FrameFolder(str(folder)), out)
    assert "not an image" in book.frame(1)["problem"]
    with pytest.raises(sdk.SourceError, match="not an image"):
        book.add(1, 0, 0)
    book.add(2, 0, 0)
    assert on_disk(out) == {"night.10": [[0, 0]]}


def test_pictures_are_pixel_for_pixel(folder: Path) -> None:
    Image.fromarray((np.arange(48 * 64) % 251).astype(np.uint8).reshape(SHAPE)).save(folder / "shallow.png")
    frames = FrameFolder(str(folder))
    assert [path.name for path in frames.paths] == [
        "night.1.png",
        "night.2.png",
        "night.10.png",
        "shallow.png",
    ]

    def shown(index: int, **how: object) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(frames.picture(index, **how))))

    for view in ("whole", "detail"):
        picture = shown(0, view=view)
        assert picture.shape == SHAPE
        assert picture.dtype == np.uint8
        assert picture[20, 30] == 255, "a target of one pixel"
        assert np.sort(picture.ravel())[-10] < 255, "noise is not as bright"
    assert np.array_equal(shown(3), read_frame(folder / "shallow.png")), "8 bits are shown as they are"
    assert np.array_equal(shown(3, inverted=True), 255 - shown(3))
    assert shown(0, view="detail", inverted=True)[20, 30] == 0


def test_the_frames_of_a_recording_become_files_bit_for_bit(tmp_path: Path) -> None:
    source = "synthetic://sea?frames=7&seed=2&width=64&height=48"
    assert extract_frames(source, tmp_path / "images", every=3) == 3
    frames = FrameFolder(str(tmp_path / "images"))
    assert [path.name for path in frames.paths] == ["sea-000000.png", "sea-000003.png", "sea-000006.png"]
    with open_source(source) as opened:
        truth = [frame.image for frame in opened]
    assert all(np.array_equal(frames.read(i), truth[3 * i]) for i in range(3))
    with pytest.raises(sdk.InputError, match="holds images already"):
        extract_frames(source, tmp_path / "images")
    with pytest.raises(sdk.InputError, match="is live"):
        extract_frames("rtsp://camera/stream", tmp_path / "other")
