# SPDX-License-Identifier: Apache-2.0
"""Frames with points: masks never reach the training, and no frame gets or loses a label in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pitviper.core.datasets import DatasetError, open_dataset, read_sample
from pitviper.core.points import write_points
from pitviper.train.points.labels import centroid_points
from pitviper.train.points.source import load_point_frames, points_sha256


def bare_frames(root: Path, count: int = 3) -> Path:
    """Frames of 32x32 with a target of one pixel at (8, 9), without masks."""
    (root / "images").mkdir(parents=True)
    for index in range(count):
        frame = np.full((32, 32), 100, np.uint8)
        frame[8, 9] = 220
        Image.fromarray(frame).save(root / "images" / f"{index}.png")
    return root


def test_points_of_masks(tiny: Path) -> None:
    train = open_dataset(tiny, "train")
    frames = load_point_frames([train, train], "centroid")
    assert len(frames) == 20
    assert frames[0] is frames[10], "a data set that is given twice is kept once"
    for each, sample in zip(frames, train.samples, strict=False):
        mask = read_sample(sample)[1]
        assert np.array_equal(each.points, centroid_points(mask))
        assert not each.frame.mask.any()
        assert len(each.frame.targets) == 0
        assert each.truth is not None
        assert np.array_equal(each.truth, mask)
    assert points_sha256(frames) != points_sha256(load_point_frames([train], "coarse"))


def test_coarse_points_depend_on_the_seed_alone(tiny: Path) -> None:
    train = open_dataset(tiny, "train")
    first, again, other = (points_sha256(load_point_frames([train], "coarse", seed=s)) for s in (1, 1, 2))
    assert first == again != other


def test_points_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, path = bare_frames(tmp_path / "mine"), tmp_path / "points.csv"
    write_points(path, {"0": np.array([[8, 9]], np.int32), "2": np.zeros((0, 2), np.int32)})
    frames = load_point_frames([open_dataset(root, "train")], str(path))
    assert [each.frame.name for each in frames] == ["mine/0", "mine/2"]
    assert [len(each.points) for each in frames] == [1, 0]
    assert frames[0].truth is None
    assert frames[0].found.mask.sum() == 9
    assert "1 of 3 frames are not in" in capsys.readouterr().err
    twins = [open_dataset(r, "train") for r in (root, bare_frames(tmp_path / "sky", 2))]
    with pytest.raises(DatasetError, match="labels '0', which is a frame of mine and of sky"):
        load_point_frames(twins, str(path))


def test_a_folder_of_which_none_is_listed_is_negatives(tmp_path: Path) -> None:
    root, path = bare_frames(tmp_path / "mine", 1), tmp_path / "points.csv"
    sky = tmp_path / "sky" / "images"
    sky.mkdir(parents=True)
    Image.fromarray(np.arange(1024, dtype=np.uint8).reshape(32, 32)).save(sky / "cloud.png")
    write_points(path, {"0": np.array([[8, 9]], np.int32)})
    frames = load_point_frames([open_dataset(r, "train") for r in (root, tmp_path / "sky")], str(path))
    assert [(each.frame.name, len(each.points)) for each in frames] == [("mine/0", 1), ("sky/cloud", 0)]


def test_targets_that_share_a_centre_share_their_point(tmp_path: Path) -> None:
    """A ring around a dot."""
    rows, columns = np.mgrid[:64, :64]
    radius = np.hypot(rows - 31, columns - 31)
    mask = (radius < 1) | ((radius > 8) & (radius < 10))
    for folder, pixels in (
        ("images", np.full((64, 64), 90, np.uint8)),
        ("masks", mask.astype(np.uint8) * 255),
    ):
        (tmp_path / "ring" / folder).mkdir(parents=True)
        for name in "ab":
            Image.fromarray(pixels).save(tmp_path / "ring" / folder / f"{name}.png")
    frames = load_point_frames([open_dataset(tmp_path / "ring", "all")], "centroid")
    assert [each.points.tolist() for each in frames] == [[[31, 31]], [[31, 31]]]


def test_what_a_file_does_not_label_or_labels_for_nothing_is_said(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night, path = bare_frames(tmp_path / "night", 2), tmp_path / "points.csv"
    (night / "images" / "0.png").rename(night / "images" / "n0.png")
    (night / "images" / "1.png").rename(night / "images" / "n1.png")
    train, val = (open_dataset(tiny, split) for split in ("train", "val"))
    names = [sample.name for sample in (*train.samples, *val.samples)]
    write_points(path, {name: np.array([[5, 5]], np.int32) for name in names})
    load_point_frames([train, open_dataset(night, "train")], str(path))
    told = capsys.readouterr().err
    assert "night: none of its 2 frames is in" in told
    assert "trained with as frames without target" in told
    assert f"{len(val)} frames that {path} labels are in no train split" in told


def test_refusals(tmp_path: Path, tiny: Path) -> None:
    root, path = bare_frames(tmp_path / "mine", 2), tmp_path / "points.csv"
    train = open_dataset(root, "train")

    def label(points: dict[str, list[list[int]]]) -> None:
        write_points(path, {k: np.array(v, np.int32).reshape(-1, 2) for k, v in points.items()})

    label({"0": [[8, 40]]})
    with pytest.raises(
        DatasetError, match=r"mine/0: the point at row 8, column 40 is outside the frame of 32x32"
    ):
        load_point_frames([train], str(path))
    label({"0": [[8, 9], [8, 9]]})
    with pytest.raises(DatasetError, match=r"mine/0: 2 points at row 8, column 9"):
        load_point_frames([train], str(path))
    label({"0": [[8, 9]], "7": [[1, 1]]})
    with pytest.raises(
        DatasetError, match=r"labels '7', of which there is no frame in the data given \(1 such\)"
    ):
        load_point_frames([train], str(path))
    label({"0": [], "1": []})
    with pytest.raises(DatasetError, match="no training frame has a point"):
        load_point_frames([train], str(path))
    label({"012": [[8, 9]]})
    with pytest.raises(DatasetError, match="lists no frame of the train split of tiny"):
        load_point_frames([open_dataset(tiny, "train")], str(path))
