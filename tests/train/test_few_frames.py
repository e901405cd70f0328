# SPDX-License-Identifier: Apache-2.0
"""A handful of labelled frames gets epochs of more than a step; what was asked for, and large data, stays."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pitviper.core.points import write_points
from pitviper.train import cli
from pitviper.train.few_frames import suit_few_frames
from pitviper.train.point_config import PALConfig


def test_only_what_nobody_asked_for_changes(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = tmp_path / "points.csv"
    write_points(points, {f"{i:03}": np.array([[5, 5]], np.int32) for i in range(4)})
    config = PALConfig(data=(str(tiny),), points=str(points))
    few = suit_few_frames(config, {})
    assert (few.crops_per_frame, few.ema) == (64, 0.99)
    assert (
        "4 frames with labels are few, so the run takes --crops-per-frame 64 --ema 0.99"
        in capsys.readouterr().err
    )
    asked = suit_few_frames(config, {"crops_per_frame", "ema"})
    assert asked == config
    assert capsys.readouterr().err == ""
    assert suit_few_frames(PALConfig(data=(str(tiny),), ema=0.5), {"ema"}).crops_per_frame == 26, (
        "10 frames, centroids"
    )


def test_a_hundred_frames_are_not_few(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pitviper.train.few_frames._FEW", 10)
    config = PALConfig(data=(str(tiny),))
    assert suit_few_frames(config, {}) is config


@pytest.mark.slow
def test_the_command_trains_where_one_crop_a_frame_would_fill_no_batch(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pal", "--model", "pit-n", "--data", str(tiny), "--out", str(tmp_path / "run"), "--no-package"]
    words += [
        "--epochs",
        "1",
        "--crops",
        "32",
        "--least-share",
        "0",
        "--accelerator",
        "cpu",
        "--precision",
        "32-true",
    ]
    assert cli.main(words) == 0, capsys.readouterr().err
    config = json.loads((tmp_path / "run/run.json").read_text())["config"]
    assert config["crops_per_frame"] == 26, "10 crops do not fill the batch of 16"
    assert cli.main([*words, "--resume", "--crops-per-frame", "1"]) == 1
    assert "a resumed run keeps its settings" in capsys.readouterr().err
