# SPDX-License-Identifier: Apache-2.0
"""``pitviper adapt``: what is refused before work, and what the training half is started with."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pitviper.sdk import cli
from pitviper.sdk.cli import adapt
from pitviper.sdk.model import SHIPPED


@pytest.fixture
def words(plant: Callable[..., Any], tmp_path: Path) -> list[str]:
    """Twelve frames of a folder, five of them clicked."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(12):
        Image.fromarray(plant((64, 64), {(20, 10 + index): 3}, seed=index)).save(folder / f"f{index:02}.png")
    (tmp_path / "points.csv").write_text(
        "image,row,column\nf00,21,11\nf03,21,14\nf05,21,16\nf08,21,19\nf11,21,22\n"
    )
    arguments = ["adapt", str(folder), "--points", str(tmp_path / "points.csv"), "--model", "pit-n"]
    return [*arguments, "--out", str(tmp_path / "out"), "--threads", "1"]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the training half would have been started with; it refuses."""
    started: list[list[str]] = []

    def refuse(words: list[str]) -> int:
        started.append(words)
        return 6

    monkeypatch.setattr(adapt, "_require_training", lambda: None)
    monkeypatch.setattr(adapt, "_train", refuse)
    return started


def test_frames_are_gathered_and_the_verdict_is_passed_on(
    words: list[str], trained: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*words, "--data", "known", "--steps", "7", "--keep-work"]) == 6
    out = tmp_path / "out"
    material, package = out / "work/material", SHIPPED / "pit-n"
    given = ["adapt", str(material), "--package", str(package), "--out", str(out), "--data", "known"]
    assert trained == [[*given, "--steps", "7", "--threads", "1", "--keep-work"]]
    facts = json.loads((material / "material.json").read_text())
    assert facts["clicked"] == {"f00": 0, "f03": 3, "f05": 5, "f08": 8, "f11": 11}
    said = capsys.readouterr()
    assert "12 frames; 5 clicks in 5 frames; tracks: 0 with clicks" in said.err
    assert said.out == ""
    assert cli.main(words) == 2
    assert "was begun; go on with it by --resume" in capsys.readouterr().err
    assert cli.main([*words, "--resume"]) == 6
    assert "12 frames, gathered before" in capsys.readouterr().err
    assert trained[1][-1] == "--resume"


def test_places_that_hold_something_are_left_alone(
    words: list[str], trained: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.write_text("mine")
    assert cli.main(words) == 1
    assert "is a file" in capsys.readouterr().err
    out.unlink()
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    assert cli.main([*words, "--resume"]) == 2
    assert "holds other files" in capsys.readouterr().err
    (out / "report.json").write_text("{}")
    assert cli.main([*words, "--resume"]) == 2
    assert "holds an adaptation already" in capsys.readouterr().err
    assert trained == []


def test_a_missing_extra_is_told_before_work(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else real(name))
    assert cli.main(words) == 1
    assert "torch is not installed; pip install 'pitviper[train]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_package_without_weights_to_train_is_refused(
    words: list[str], trained: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = Path(shutil.copytree(SHIPPED / "pit-n", tmp_path / "bare"))
    (bare / "model.safetensors").unlink()
    manifest = json.loads((bare / "manifest.json").read_text())
    del manifest["files"]["model.safetensors"]
    (bare / "manifest.json").write_text(json.dumps(manifest))
    assert cli.main([*words, "--model", str(bare)]) == 4
    assert "holds no model.safetensors, the weights in training form" in capsys.readouterr().err
    assert trained == []


def test_frames_of_another_size_than_the_clicks(
    words: list[str], trained: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.full((40, 64), 7800, np.uint16)).save(tmp_path / "frames/f05.png")
    (tmp_path / "points.csv").write_text(
        "image,row,column\nf05,50,16\n" + "".join(f"f{i:02},20,20\n" for i in range(6, 10))
    )
    assert cli.main(words) == 3
    assert "f05: the point at row 50, column 16 is outside the frame of 40x64" in capsys.readouterr().err


def test_clicks_that_can_judge_nothing_are_told_before_the_stream_is_looked_through(
    words: list[str], trained: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"f{index:02},21,{11 + index}\n" for index in range(4))
    (tmp_path / "points.csv").write_text(f"image,row,column\n{rows}f09,,\n")
    assert cli.main(words) == 3
    said = capsys.readouterr().err
    assert (
        "4 clicked frames with points are too few: 5 are needed to judge by alone. Click at least 10" in said
    )
    assert trained == []
    assert not (tmp_path / "out").exists()


def test_the_training_half_is_a_process_of_its_own(
    words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    for module in ("torch", "lightning_fabric", "onnxscript", "tensorboard"):
        pytest.importorskip(module, reason="the extra train is not installed")
    assert cli.main(words) == 1
    assert "pitviper-train: 5 clicked frames with points are too few to judge by" in capfd.readouterr().err
