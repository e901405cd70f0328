# SPDX-License-Identifier: Apache-2.0
"""Which frames are trained with, and which judge."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pitviper.core.datasets import DatasetError
from pitviper.train.data.splits import open_splits, val_splits


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
