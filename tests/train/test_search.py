# SPDX-License-Identifier: Apache-2.0
"""The search of reweighting settings: its budget, what it calls noise, and one that is interrupted."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pitviper.core.datasets import DatasetError
from pitviper.train import cli, search
from pitviper.train.point_config import SemanticPriorsConfig
from pitviper.train.run import train_points
from pitviper.train.search import CHOSEN, SEARCH, Budget, search_reweighting
from pitviper.train.search_report import Outcome, Searched, write_markdown

Score = Callable[[SemanticPriorsConfig], float]
SIDE = 64


@pytest.fixture(scope="module")
def spotted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 training frames with a bright spot each, and 2 for validation."""
    root = tmp_path_factory.mktemp("search") / "spots"
    for folder in ("images", "masks", "splits"):
        (root / folder).mkdir(parents=True)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for index in range(12):
        rng = np.random.default_rng(index)
        row, column = rng.integers(10, 54, 2)
        light = 120 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 3)
        frame = np.clip(60 + light + rng.normal(0, 2, light.shape), 0, 255).astype(np.uint8)
        Image.fromarray(frame).save(root / "images" / f"{index:02}.png")
        Image.fromarray(light > 48).convert("L").save(root / "masks" / f"{index:02}.png")
    (root / "splits/train.txt").write_text("\n".join(f"{i:02}" for i in range(10)))
    (root / "splits/val.txt").write_text("10\n11")
    return root


@pytest.fixture
def config(spotted: Path) -> SemanticPriorsConfig:
    return SemanticPriorsConfig(data=(str(spotted),), epochs=1, seed=5, clusters=2)


class Trainings:
    """Stands for training: a run leaves the score that a function gives it."""

    def __init__(self, score: Score, *, killed_at: int = 0) -> None:
        self.score = score
        self.killed_at = killed_at
        self.made: list[str] = []

    def __call__(self, config: SemanticPriorsConfig, folder: Path, **options: Any) -> Path:
        assert options["resume"] == "auto"
        self.made.append(folder.name)
        if len(self.made) == self.killed_at:
            raise KeyboardInterrupt
        value = self.score(config)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "checkpoint.safetensors").write_bytes(b"large")
        history = [{"epoch": 1, "validation": {"spots": {"iou": value, "pd": value}}}]
        (folder / "run.json").write_text(json.dumps({"history": history}))
        return folder


def better_with_one_form(config: SemanticPriorsConfig) -> float:
    """Seeds differ by 0.002; `gn` and `none` are far below `unrolled`, and a larger rate is a little better."""
    form = {"unrolled": 0.5, "gn": 0.2, "none": 0.1}[config.bilevel]
    return form + 0.5 * config.alpha_lr + 0.002 * (config.seed % 2)


def read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / SEARCH).read_text())["result"]
    return found


def test_every_run_of_the_budget_is_made_and_told(config: SemanticPriorsConfig, tmp_path: Path) -> None:
    trainings = Trainings(better_with_one_form)
    report = search_reweighting(config, tmp_path, budget=Budget(14, 3), train=trainings)
    found = read(tmp_path)
    names = [each["name"] for each in found["runs"]]
    assert names[:3] == ["default-5", "default-6", "default-7"]
    assert names[-2:] == ["chosen-6", "chosen-7"]
    assert trainings.made == names
    # A trial that repeats an earlier one is not run again.
    assert 14 - 4 <= len(names) <= 14
    assert found["better"]
    assert found["gain"] > found["noise"] > 0
    chosen = json.loads((tmp_path / CHOSEN).read_text())
    assert chosen == found["best"]
    assert chosen["bilevel"] == "unrolled"
    assert chosen["alpha_lr"] > 0.01
    assert 2 * chosen["clusters"] <= 10, "two frames or more in each"
    assert replace(config, **chosen).bilevel == "unrolled"
    text = report.read_text()
    assert f"{len(names)} runs of 1 epochs" in text
    assert all(f"| {name} |" in text for name in names)
    assert "beyond the noise" in text
    assert "optimistic" in text
    assert not list(tmp_path.rglob("checkpoint.safetensors"))


def test_a_gain_that_seeds_have_too_is_noise(config: SemanticPriorsConfig, tmp_path: Path) -> None:
    def noise(config: SemanticPriorsConfig) -> float:
        return float(
            np.random.default_rng([config.seed, config.bilevel_steps, config.features]).uniform(0.4, 0.6)
        )

    report = search_reweighting(config, tmp_path, budget=Budget(9, 3), train=Trainings(noise))
    assert not read(tmp_path)["better"]
    assert json.loads((tmp_path / CHOSEN).read_text()) == {}, "the defaults stay"
    assert "Within noise" in report.read_text()


@pytest.mark.parametrize("killed_at", [2, 5, 9])
def test_an_interrupted_search_ends_as_a_whole_one(
    config: SemanticPriorsConfig, tmp_path: Path, killed_at: int
) -> None:
    """In the defaults, in a trial, and in the runs of what was chosen."""
    budget = Budget(10, 3)
    whole = Trainings(better_with_one_form)
    search_reweighting(config, tmp_path / "whole", budget=budget, train=whole)
    first = Trainings(better_with_one_form, killed_at=min(killed_at, len(whole.made)))
    with pytest.raises(KeyboardInterrupt):
        search_reweighting(config, tmp_path / "killed", budget=budget, train=first)
    second = Trainings(better_with_one_form)
    search_reweighting(config, tmp_path / "killed", budget=budget, train=second, resume=True)
    assert read(tmp_path / "killed") == read(tmp_path / "whole")
    assert first.made[:-1] + second.made == whole.made, "only the interrupted run is made again"


def test_a_trial_that_cannot_be_trained_is_told(config: SemanticPriorsConfig, tmp_path: Path) -> None:
    def unstable(config: SemanticPriorsConfig) -> float:
        if config.bilevel == "gn":
            raise FloatingPointError("the loss is not finite")
        return better_with_one_form(config)

    report = search_reweighting(config, tmp_path, budget=Budget(12, 2), train=Trainings(unstable))
    failed = [each for each in read(tmp_path)["runs"] if each["score"] is None]
    assert failed
    assert all(each["settings"]["bilevel"] == "gn" for each in failed)
    text = report.read_text()
    assert "| not finite |" in text
    again = Trainings(unstable)
    assert search_reweighting(config, tmp_path, budget=Budget(12, 2), train=again, resume=True) == report
    assert again.made == [], "neither what has ended nor what has failed is tried again"
    assert report.read_text() == text


def test_refusals(config: SemanticPriorsConfig, tmp_path: Path, spotted: Path) -> None:
    with pytest.raises(ValueError, match="3 repeats need at least 6 runs"):
        Budget(5, 3)
    with pytest.raises(ValueError, match="leave --bilevel none out"):
        search_reweighting(replace(config, bilevel="none"), tmp_path / "n")
    alone = tmp_path / "alone"
    (alone / "images").mkdir(parents=True)
    Image.fromarray(np.zeros((SIDE, SIDE), np.uint8)).save(alone / "images/0.png")
    with pytest.raises(DatasetError, match="no --data has one"):
        search_reweighting(replace(config, data=(str(alone),)), tmp_path / "v")
    budget, trainings = Budget(4, 2), Trainings(better_with_one_form)
    search_reweighting(config, tmp_path / "s", budget=budget, train=trainings)
    with pytest.raises(FileExistsError, match="holds a search already; pass --resume"):
        search_reweighting(config, tmp_path / "s", budget=budget, train=trainings)
    changed = replace(config, lr=0.5)
    with pytest.raises(ValueError, match=r"lr was 0\.0015, now 0\.5"):
        search_reweighting(changed, tmp_path / "s", budget=budget, train=trainings, resume=True)
    with pytest.raises(ValueError, match="runs was 4, now 5"):
        search_reweighting(config, tmp_path / "s", budget=Budget(5, 2), train=trainings, resume=True)


def test_a_missing_optuna_names_the_extra(
    config: SemanticPriorsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ImportError, match=r"Optuna .*pip install 'pitviper\[tune\]'"):
        search_reweighting(config, Path("nowhere"))


def test_no_trial_at_all() -> None:
    found = Searched(2, (Outcome("default-0", 0, {}, 0.5),), None, (0.5, 0.6), ())
    assert not found.is_better
    assert "No trial could be trained" in write_markdown(found, CHOSEN)


def test_the_command_trains_for_real(
    spotted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first of its four runs; the others are copies of it."""
    first: list[Path] = []

    def once(config: SemanticPriorsConfig, folder: Path, **options: Any) -> Path:
        if first:
            return Path(shutil.copytree(first[0], folder))
        first.append(train_points(config, folder, **options))
        return folder

    monkeypatch.setattr(search, "search_reweighting", partial(search_reweighting, train=once))
    settings = {"model": "pit-n", "crops": [[1.0, SIDE]], "batch": 4, "vfm": "tiny-random", "clusters": 2}
    (tmp_path / "s.json").write_text(json.dumps(settings))
    words = ["tune", "--data", str(spotted), "--config", str(tmp_path / "s.json"), "--epochs", "1"]
    words += ["--runs", "4", "--repeats", "2", "--out", str(tmp_path / "tuned")]
    assert cli.main([*words, "--accelerator", "cpu", "--devices", "1", "--precision", "32-true"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "tuned/search.md")
    runs = read(tmp_path / "tuned")["runs"]
    assert [each["name"] for each in runs] == ["default-0", "default-1", "trial-0", "chosen-1"]
    assert all(0.0 <= each["score"] <= 1.0 for each in runs)
    assert (first[0] / "last.safetensors").is_file()
    assert not (first[0] / "checkpoint.safetensors").exists()
