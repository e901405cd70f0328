# SPDX-License-Identifier: Apache-2.0
"""Every layout opens to the same samples, and every broken file is named."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pitviper.core.datasets import DatasetError, open_dataset, read_mask, read_sample


def write(folder: Path, names: Iterable[str], *, value: int = 9, shape: tuple[int, int] = (8, 10)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.full(shape, value, np.uint8)).save(folder / f"{name}.png")


def lists(root: Path, **content: str) -> None:
    for path, text in content.items():
        file = root / path.replace("__", "/")
        file = file.with_suffix(".txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def names(root: Path, split: str) -> list[str]:
    return [sample.name for sample in open_dataset(root, split).samples]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of the field with six frames and masks and no list yet."""
    root = tmp_path / "SIRST"
    write(root / "images", "abcdef")
    write(root / "masks", "abcdef", value=255)
    return root


def test_own_layout_keeps_the_order_of_the_list(root: Path) -> None:
    lists(root, splits__train="a\nb\n\n", splits__val="d\nc\n", splits__test="f \n")
    assert names(root, "train") == ["a", "b"]
    assert names(root, "val") == ["d", "c"]
    assert names(root, "test") == ["f"], "blanks around a name are no part of it"
    assert names(root, "all") == list("abcdef")
    first = open_dataset(root, "val").samples[0]
    assert (first.frame, first.mask) == (root / "images/d.png", root / "masks/d.png")


def test_basicirstd_layout(root: Path) -> None:
    lists(root, img_idx__train_SIRST="a\nb", img_idx__test_SIRST="c")
    assert sorted(names(root, "train") + names(root, "val")) == ["a", "b"], (
        "val is drawn from what is listed to train"
    )
    assert names(root, "test") == ["c"]
    with pytest.raises(DatasetError, match=r"no split 'other'; available splits: test, train, all"):
        open_dataset(root, "other")


def test_sirst_layout_with_pixels0_masks(tmp_path: Path) -> None:
    root = tmp_path / "sirst"
    write(root / "images", "abc")
    write(root / "masks", ["a_pixels0", "b_pixels0", "c_pixels0"], value=255)
    lists(root, idx_427__trainval="a\nb", idx_427__test="c")
    assert sorted(names(root, "train") + names(root, "val")) == ["a", "b"]
    assert open_dataset(root, "test").samples[0].mask == root / "masks/c_pixels0.png"
    assert names(root, "all") == ["a", "b", "c"]


def plain(root: Path, every: list[str]) -> Path:
    write(root / "images", every)
    write(root / "masks", every, value=255)
    return root


def test_plain_folders_draw_about_a_sixth_for_val(tmp_path: Path) -> None:
    every = [f"{i:03}" for i in range(600)]
    root = plain(tmp_path / "plain", every)
    train, val = names(root, "train"), names(root, "val")
    # Five standard deviations of a binomial of 600 with a chance of 1/6.
    assert abs(len(val) - 100) <= 5 * 9.2
    assert sorted(train + val) == every
    assert val[:4] == ["010", "023", "031", "042"], "the draw is the same on every machine"
    with pytest.raises(DatasetError, match="no split 'test'"):
        open_dataset(root, "test")


def test_a_folder_that_grows_keeps_its_split(tmp_path: Path) -> None:
    """A frame that was trained with never judges later."""
    few = [f"z{i}" for i in range(10)]
    before = plain(tmp_path / "before", few)
    after = plain(tmp_path / "after", [*few, *(f"a{i}" for i in range(50)), *(f"c{i}" for i in range(50))])
    assert set(names(before, "val")) == set(names(after, "val")) & set(few)
    assert set(names(before, "train")) == set(names(after, "train")) & set(few)


def test_the_draw_of_few_frames_leaves_val_one(tmp_path: Path) -> None:
    assert not {"a", "b", "c"} & set(names(plain(tmp_path / "six", list("abcdef")), "val"))
    assert len(names(plain(tmp_path / "three", list("abc")), "val")) == 1


def test_plain_folders_leave_nothing_out_in_silence(tmp_path: Path) -> None:
    """Without lists, a frame without a mask and a mask without a frame are mistakes; "all" takes the pairs."""
    write(tmp_path / "images", "abcx")
    write(tmp_path / "masks", ["a", "b_pixels0", "c", "y"], value=255)
    message = r"x\.png in images/ without a mask and y\.png in masks/ without a frame; .*splits/train\.txt"
    for split in ("train", "val"):
        with pytest.raises(DatasetError, match=message):
            open_dataset(tmp_path, split)
    assert names(tmp_path, "all") == ["a", "b", "c"]
    assert not open_dataset(tmp_path, "all").drawn
    (tmp_path / "images/x.png").unlink()
    (tmp_path / "masks/y.png").unlink()
    assert open_dataset(tmp_path, "val").drawn
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/val.txt").write_text("a")
    assert not open_dataset(tmp_path, "val").drawn


def test_plain_folder_of_one_frame_has_nothing_to_train_on(tmp_path: Path) -> None:
    write(tmp_path / "images", "a")
    write(tmp_path / "masks", "a")
    with pytest.raises(DatasetError, match=r"no frame is left to train with.*add frames"):
        open_dataset(tmp_path, "train")
    assert names(tmp_path, "val") == ["a"]


def test_images_in_subfolders_are_not_left_out_in_silence(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        write(tmp_path / folder, "ab")
    write(tmp_path / "images" / "second", "c")
    with pytest.raises(DatasetError, match="images in second/, and subfolders are not searched"):
        open_dataset(tmp_path, "train")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/train.txt").write_text("a")
    (tmp_path / "splits/val.txt").write_text("b")
    assert names(tmp_path, "train") == ["a"]


def test_lists_as_other_tools_write_them(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        write(tmp_path / folder, "ab")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/train.txt").write_bytes(b"\xef\xbb\xbfa\r\n")
    (tmp_path / "splits/val.txt").write_text("b.png\n")
    assert (names(tmp_path, "train"), names(tmp_path, "val")) == (["a"], ["b"])
    (tmp_path / "splits/val.txt").write_bytes("ä".encode("latin-1"))
    with pytest.raises(DatasetError, match=r"val\.txt: not UTF-8"):
        open_dataset(tmp_path, "val")


def test_background_only(tmp_path: Path) -> None:
    root = tmp_path / "sky"
    write(root / "images", "ab")
    assert names(root, "train") == names(root, "all") == ["a", "b"]
    sample = open_dataset(root, "train").samples[0]
    frame, mask = read_sample(sample)
    assert sample.mask is None
    assert mask.shape == frame.shape
    assert not mask.any()
    with pytest.raises(DatasetError, match="no split 'val'"):
        open_dataset(root, "val")


def test_split_hash_depends_on_names_and_order_alone(root: Path, tmp_path: Path) -> None:
    lists(root, splits__val="a\nb\n", splits__other="b\na")
    digest = open_dataset(root, "val").split_sha256
    assert digest == hashlib.sha256(b"a\nb").hexdigest()
    moved = tmp_path / "elsewhere"
    root.rename(moved)
    assert open_dataset(moved, "val").split_sha256 == digest
    assert open_dataset(moved, "other").split_sha256 != digest


def test_frames_keep_sixteen_bits_and_masks_are_cut_above_127(tmp_path: Path) -> None:
    counts = np.array([[0, 1000, 16383]], np.uint16)
    for folder, pixels in (("images", counts), ("masks", np.array([[0, 127, 128]], np.uint8))):
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "a.tiff")
    frame, mask = read_sample(open_dataset(tmp_path, "all").samples[0])
    assert frame.dtype == np.uint16
    assert np.array_equal(frame, counts)
    assert mask.tolist() == [[False, False, True]]


def test_missing_files_are_named(root: Path) -> None:
    lists(root, splits__train="a\nghost", splits__val="a\nf", splits__test="\n\n")
    with pytest.raises(DatasetError, match=r"names 'ghost' but images/ holds no such file"):
        open_dataset(root, "train")
    (root / "masks/f.png").unlink()
    with pytest.raises(DatasetError, match=r"f\.png has no mask \(f\.\* or f_pixels0\.\*"):
        open_dataset(root, "val")
    with pytest.raises(DatasetError, match="split 'test' is empty"):
        open_dataset(root, "test")


def test_folders_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="absent: no such folder"):
        open_dataset(tmp_path / "absent")
    with pytest.raises(DatasetError, match="no images/ folder"):
        open_dataset(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/readme.md").write_text("no image")
    with pytest.raises(DatasetError, match="holds no image files"):
        open_dataset(tmp_path)


def test_two_files_of_one_name(root: Path) -> None:
    Image.fromarray(np.zeros((8, 10), np.uint8)).save(root / "images/a.bmp")
    with pytest.raises(DatasetError, match=r"a\.bmp and a\.png share a name; keep one"):
        open_dataset(root, "all")


def test_mask_of_another_size(root: Path) -> None:
    write(root / "masks", "c", shape=(8, 11))
    sample = next(s for s in open_dataset(root, "all").samples if s.name == "c")
    with pytest.raises(DatasetError, match=r"c\.png: the mask is 8x11 but its frame is 8x10"):
        read_sample(sample)


def test_unreadable_files_say_whether_frame_or_mask(root: Path) -> None:
    (root / "images/a.png").write_bytes(b"")
    (root / "masks/b.png").write_bytes((root / "masks/b.png").read_bytes()[:50])
    first, second = open_dataset(root, "all").samples[:2]
    with pytest.raises(DatasetError, match=r"^frame .*a\.png: the file is empty"):
        read_sample(first)
    with pytest.raises(DatasetError, match=r"^mask .*b\.png"):
        read_sample(second)
    with pytest.raises(DatasetError, match=r"^mask .*no such file"):
        read_mask(root / "masks/zz.png", (8, 10))


def test_a_list_that_counts_a_frame_twice(root: Path) -> None:
    lists(root, splits__val="a\nb\na")
    with pytest.raises(DatasetError, match=r"val\.txt: names a more than once"):
        open_dataset(root, "val")


def test_listed_frames_whose_labels_are_elsewhere_need_no_mask(root: Path) -> None:
    lists(root, splits__train="a\nb\nc", splits__val="d\ne\nf")
    for name in "ab":
        (root / "masks" / f"{name}.png").unlink()
    with pytest.raises(DatasetError, match=r"a\.png has no mask"):
        open_dataset(root, "train")
    opened = open_dataset(root, "train", unmasked=True)
    assert [sample.mask is None for sample in opened.samples] == [True, True, False]
    assert all(sample.mask for sample in open_dataset(root, "val").samples)


@pytest.mark.parametrize(
    ("lists", "mask"),
    [
        (("img_idx/train_toy.txt", "img_idx/test_toy.txt"), "{}"),
        (("idx_427/trainval.txt", "idx_427/test.txt"), "{}_pixels0"),
    ],
)
def test_published_lists_of_train_and_test_give_a_sixth_of_train_to_val(
    tmp_path: Path, lists: tuple[str, str], mask: str
) -> None:
    every = [f"{i:02}" for i in range(15)]
    write(tmp_path / "images", every)
    write(tmp_path / "masks", [mask.format(name) for name in every], value=255)
    for path, listed in zip(lists, (every[:12], every[12:]), strict=True):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text("\n".join(listed))
    train, val = names(tmp_path, "train"), names(tmp_path, "val")
    assert val == ["03", "07"]
    assert sorted(train + val) == every[:12]
    assert names(tmp_path, "test") == every[12:], "no frame of test is anywhere else"
    assert open_dataset(tmp_path, "val").drawn
    assert not open_dataset(tmp_path, "test").drawn
    if mask == "{}":
        (tmp_path / "splits").mkdir()
        (tmp_path / "splits/val.txt").write_text("03")
        assert names(tmp_path, "train") == every[:12], "whoever lists val has parted the frames"
