# SPDX-License-Identifier: Apache-2.0
"""Which frames are trained with, and which judge."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pitviper.core.datasets import DatasetError
from pitviper.train.data.splits import judged_splits, open_splits, val_splits
from pitviper.train.run import describe_set


def val_alone(tiny: Path, root: Path) -> Path:
    """A copy whose only list is of val frames, and whose other masks are gone."""
    shutil.copytree(tiny, root)
    shutil.rmtree(root / "splits", ignore_errors=True)
    (root / "splits").mkdir()
    kept = [sample.name for sample in val_splits([str(tiny)])[0].samples]
    (root / "splits" / "val.txt").write_text("\n".join(kept))
    for mask in (root / "masks").iterdir():
        if mask.stem not in kept:
            mask.unlink()
    return root


def test_a_frame_is_not_trained_with_and_judged_on(tiny: Path, tmp_path: Path) -> None:
    root = tmp_path / "both"
    shutil.copytree(tiny, root)
    train, val = (sample.name for sample in (open_splits([str(tiny)])[i][0].samples[0] for i in (0, 1)))
    shutil.rmtree(root / "splits", ignore_errors=True)
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text(f"{train}\n{val}\n")
    (root / "splits" / "val.txt").write_text(f"{val}\n")
    with pytest.raises(
        DatasetError, match=rf"both: 1 of the frames to train with are to judge too \({val}\)"
    ):
        open_splits([str(root)])


def test_a_folder_of_val_frames_judges_and_is_not_trained_with(tiny: Path, tmp_path: Path) -> None:
    judge = val_alone(tiny, tmp_path / "judge")
    train, val = open_splits([str(tiny), str(judge)])
    assert [each.name for each in train] == ["tiny"]
    assert [each.name for each in val] == ["tiny", "judge"]
    with pytest.raises(DatasetError, match="val frames alone; give a folder with frames to train with"):
        open_splits([str(judge)])


def test_clicked_frames_need_no_masks_where_others_judge(tiny: Path, tmp_path: Path) -> None:
    root = val_alone(tiny, tmp_path / "mine")
    judged = {path.stem for path in (root / "masks").iterdir()}
    clicked = [path.stem for path in sorted((root / "images").iterdir()) if path.stem not in judged]
    (root / "splits" / "train.txt").write_text("\n".join(clicked))
    with pytest.raises(DatasetError, match="has no mask"):
        open_splits([str(root)])
    (train,), (val,) = open_splits([str(root)], unmasked=True)
    assert [sample.name for sample in train.samples] == clicked
    assert {sample.name for sample in val.samples} == judged


def test_the_splits_that_judged_are_opened_again_or_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "mine"
    shutil.copytree(tiny, root)
    shutil.rmtree(root / "splits")
    (val,) = val_splits([str(root)])
    judged = [describe_set(val)]
    assert judged_splits([str(root)], judged) == [val]
    assert judged_splits([str(root)], []) == [], "a run without val split has none afterwards"
    for folder in ("images", "masks"):
        shutil.copy(root / folder / "000.png", root / folder / "0001.png")
    assert judged_splits([str(root)], judged) == [val], "one more frame to train with"
    for folder in ("images", "masks"):
        shutil.copy(root / folder / "000.png", root / folder / "023.png")
    with pytest.raises(
        DatasetError, match=r"val split of mine has changed since the run .* put its frames and lists"
    ):
        judged_splits([str(root)], judged)
    monkeypatch.chdir(tmp_path)
    assert val_splits(["mine"])
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(
        DatasetError,
        match=r"mine: the run's data set is not there, seen from .*--data FOLDER \(of the name mine\)",
    ):
        judged_splits(["mine"], judged)


def test_the_splits_that_judged_are_found_where_they_were_moved(tiny: Path, tmp_path: Path) -> None:
    root = tmp_path / "before" / "mine"
    shutil.copytree(tiny, root)
    judged = [describe_set(val) for val in val_splits([str(root)])]
    now = tmp_path / "now" / "mine"
    now.parent.mkdir()
    root.rename(now)
    (val,) = judged_splits([str(root)], judged, moved=[str(now)])
    assert val.root == now
    with pytest.raises(DatasetError, match=r"now: the run has no data set of that name; it has mine"):
        judged_splits([str(root)], judged, moved=[str(now.parent)])
