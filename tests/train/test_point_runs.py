# SPDX-License-Identifier: Apache-2.0
"""Runs that learn from points: labels evolve, interrupted runs end as whole ones, and the plain network is shipped."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, load_file

from pitviper.core.datasets import DatasetError, open_dataset
from pitviper.core.manifest import WEIGHTS
from pitviper.core.models import complexity, create_model
from pitviper.core.points import write_points
from pitviper.core.weights import load_model
from pitviper.train import cli, state
from pitviper.train.evolution.start import start_course
from pitviper.train.hardware import Hardware
from pitviper.train.package import package_run
from pitviper.train.point_config import (
    LESPSConfig,
    PALConfig,
    PointConfig,
    SemanticPriorsConfig,
    SPReferenceConfig,
)
from pitviper.train.points.source import load_point_frames
from pitviper.train.report import report_run
from pitviper.train.run import load_main_branch, load_run, train_points
from pitviper.train.state import CHECKPOINT, read_numbers
from pitviper.train.validate import predict_standardised

CPU = Hardware(accelerator="cpu", devices="1", precision="32-true")
SIDE = 64


def spots(seed: int, *, amplitude: float) -> tuple[np.ndarray, np.ndarray]:
    """An 8-bit frame with two Gaussian spots, and their mask."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    light = np.zeros((SIDE, SIDE))
    for half in (0, 32):
        row, column = rng.integers(10, 54), rng.integers(half + 6, half + 26)
        light += amplitude * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 3)
    frame = 60 + light + rng.normal(0, 2, light.shape) + 10 * (seed % 3)
    return np.clip(np.rint(frame), 0, 255).astype(np.uint8), light > 0.4 * amplitude


@pytest.fixture(scope="module")
def spotted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training frames, of which edges find the targets of 8, and 2 for validation."""
    root = tmp_path_factory.mktemp("points") / "spots"
    for folder in ("images", "masks", "splits"):
        (root / folder).mkdir(parents=True)
    for index in range(14):
        frame, mask = spots(index, amplitude=20 if 8 <= index < 12 else 120)
        Image.fromarray(frame).save(root / "images" / f"{index:02}.png")
        Image.fromarray(mask).convert("L").save(root / "masks" / f"{index:02}.png")
    (root / "splits/train.txt").write_text("\n".join(f"{i:02}" for i in range(12)))
    (root / "splits/val.txt").write_text("12\n13")
    labelled = load_point_frames([open_dataset(root, "train")], "centroid")
    write_points(root.parent / "clicks.csv", {each.sample.name: each.points for each in labelled})
    return root


def settings(kind: type[PointConfig], root: Path, **changes: Any) -> PointConfig:
    small: dict[str, Any] = {
        "model": "pit-n",
        "data": (str(root),),
        "epochs": 4,
        "crops": ((1.0, SIDE),),
        "batch": 2,
        "lr": 1e-2,
        "validate_every": 2,
        "ema": 0.5,
    }
    if issubclass(kind, SemanticPriorsConfig):
        small |= {
            "points": str(root.parent / "clicks.csv"),
            "vfm": "tiny-random",
            "bilevel_steps": 2,
            "upper_until": 0.75,
            "clusters": 2,
            "checkpoint_every": 1,
            "zero_start": 0,
            # First masks that are too large, and may shrink: labels have somewhere to go.
            "outline": "edges",
            "protect": "points",
        }
    return kind(**(small | changes))


def history(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / "run.json").read_text())["history"]
    return found


@pytest.fixture(scope="module")
def finished(spotted: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole run of semantic priors."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return train_points(settings(SemanticPriorsConfig, spotted), folder, hardware=CPU)


def same_run(whole: Path, other: Path) -> None:
    for file in ("last.safetensors", "best.safetensors", CHECKPOINT):
        a, b = load_file(whole / file), load_file(other / file)
        assert a.keys() == b.keys()
        assert [key for key in a if not torch.equal(a[key], b[key])] == [], file
    for file in ("run.json", "evolution.png", "evolution-moving.png"):
        assert (whole / file).read_bytes() == (other / file).read_bytes()


def test_labels_and_weights_change(finished: Path) -> None:
    numbers = [record["companion"] for record in history(finished)]
    # A step whose two frames are of one cluster moves no weight; which ones are depends on the threads of k-means.
    low, high = sorted(numbers[-1]["weights"])
    assert low < 1.0 < high, "after six upper steps"
    tensors = load_file(finished / CHECKPOINT)
    labels = [value for key, value in tensors.items() if key.startswith("companion/pools.label")]
    assert len(labels) == numbers[-1]["selected"] > 0
    assert all(value.dtype == torch.float16 for value in labels)
    assert any(bool(((value > 0) & (value < 1)).any()) for value in labels), "a label has moved off 0 and 1"
    assert numbers[0]["label_iou"] != numbers[-1]["label_iou"]
    assert not any(key.startswith("task/vfm") for key in tensors)


def test_frames_of_the_upper_level_join(finished: Path, spotted: Path, tmp_path: Path) -> None:
    joined = [epoch["companion"] for epoch in history(finished)]
    assert [("upper_loss" in numbers) for numbers in joined] == [True, True, True, False]
    assert [numbers["selected"] + numbers["waiting"] for numbers in joined] == [10, 10, 10, 12]
    assert joined[2]["weights"] == joined[3]["weights"], "weights stay once nothing judges them"
    never = settings(SemanticPriorsConfig, spotted, upper_until=1.0, epochs=3)
    folder = train_points(never, tmp_path / "never", hardware=CPU)
    assert [e["companion"]["selected"] + e["companion"]["waiting"] for e in history(folder)] == [10] * 3


def test_killed_inside_and_between_epochs(
    finished: Path,
    spotted: Path,
    tmp_path: Path,
    killed_at_step: Callable[[int, int], AbstractContextManager[None]],
    killed_in_epoch: Callable[[int], AbstractContextManager[None]],
) -> None:
    """Once before the checkpoint of epoch 2, once at a step of epoch 3, after its labels were updated."""
    folder, config = tmp_path / "killed", settings(SemanticPriorsConfig, spotted)
    with killed_in_epoch(2):
        train_points(config, folder, hardware=CPU)
    with killed_at_step(2, 1):
        train_points(config, folder, hardware=CPU, resume=True)
    assert not (folder / "run.json").exists()
    numbers = read_numbers(folder / CHECKPOINT)
    assert (numbers["epoch"], numbers["step"]) == (2, 1)
    train_points(config, folder, hardware=CPU, resume=True)
    same_run(finished, folder)


def test_the_published_form_resumes_too(
    spotted: Path,
    tmp_path: Path,
    killed_at_step: Callable[[int, int], AbstractContextManager[None]],
) -> None:
    """Its optimiser of two levels, and labels of the upper frames that evolve; killed at a step of epoch 3."""
    config, whole, killed = settings(SPReferenceConfig, spotted, clusters=256), tmp_path / "a", tmp_path / "b"
    train_points(config, whole, hardware=CPU)
    about = json.loads((whole / "run.json").read_text())["clusters"]
    assert about["clusters"] == about["frames"] == 12, (
        "upper frames have clusters, and no more than there are"
    )
    state_of = load_file(whole / CHECKPOINT)
    upper = [v for k, v in state_of.items() if k.startswith("companion/clusters.upper.label")]
    assert len(upper) == about["upper_frames"] == 2
    assert any(bool(((v > 0) & (v < 1)).any()) for v in upper), "labels of the upper level have evolved"
    assert any(k.startswith("companion/clusters.adamw.") for k in state_of)
    with killed_at_step(2, 1):
        train_points(config, killed, hardware=CPU)
    train_points(config, killed, hardware=CPU, resume=True)
    same_run(whole, killed)
    assert load_main_branch(whole)[1]["recipe"] == "sp_reference"


def test_a_full_disk_after_an_update_loses_nothing(
    spotted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, whole, full = settings(PALConfig, spotted), tmp_path / "whole", tmp_path / "full"
    train_points(config, whole, hardware=CPU)
    assert len(history(whole)) == 4
    real, written = state.write_whole, []

    def disk(path: Path, content: bytes) -> None:
        written.append(path.name)
        if written.count(CHECKPOINT) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(state, "write_whole", disk)
        with pytest.raises(OSError, match=r"No space left.*the one before is kept"):
            train_points(config, full, hardware=CPU)
    assert read_numbers(full / CHECKPOINT)["epoch"] == 2, "labels were updated before epoch 3"
    train_points(config, full, hardware=CPU, resume=True)
    same_run(whole, full)


def test_what_is_shipped_is_the_plain_network(finished: Path, spotted: Path, tmp_path: Path) -> None:
    package = package_run(
        finished, tmp_path / "package", which="last", licence="-", provenance="-", commit="-"
    )
    bare = create_model("pit-n")
    tensors = load(package.read(WEIGHTS))
    assert {k: v.shape for k, v in tensors.items()} == {k: v.shape for k, v in bare.state_dict().items()}
    assert complexity(load_model(package)) == complexity(bare) == package.manifest.architecture["deployed"]
    text = (tmp_path / "package/manifest.json").read_text()
    assert '"points": "clicks.csv"' in text
    assert str(spotted.parent) not in text
    assert "label." not in text
    assert "upper_frames" not in text
    teacher, summary = load_main_branch(finished)
    student, _ = load_run(finished, "last")
    assert summary["clusters"]["clusters"] == 2
    image = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
    shipped = predict_standardised(load_model(package), image)
    assert np.array_equal(shipped, predict_standardised(student, image))
    assert np.array_equal(shipped, predict_standardised(teacher.task.network.eval(), image))  # type: ignore[union-attr]
    assert not np.array_equal(shipped, predict_standardised(teacher, image))


def test_the_report_shows_labels_and_weights(finished: Path, tmp_path: Path) -> None:
    page = report_run(finished, tmp_path, "last", branch="both").read_text()
    for heading in (
        "Labels of some training frames",
        "The same labels over the run",
        "Weights of the clusters",
    ):
        assert f"<h2>{heading}</h2>" in page
    assert "semantic_priors with" in page
    assert "student (the one that is kept) and teacher" in page
    assert "val, teacher" in page
    assert "val, main" not in page


def test_resuming_needs_the_same_points(finished: Path, spotted: Path, tmp_path: Path) -> None:
    config = settings(SemanticPriorsConfig, spotted)
    with pytest.raises(ValueError, match=r"points was .*clicks\.csv, now coarse"):
        train_points(replace(config, points="coarse"), finished, hardware=CPU, resume=True)
    with pytest.raises(ValueError, match="the run is one of 'semantic_priors', not of 'pal'"):
        train_points(settings(PALConfig, spotted), finished, hardware=CPU, resume=True)


def test_lesps_grows_from_points_after_its_loss_has_fallen(spotted: Path, tmp_path: Path) -> None:
    config = settings(LESPSConfig, spotted, epochs=3)
    train_points(config, tmp_path / "late", hardware=CPU)
    numbers = [record["companion"] for record in history(tmp_path / "late")]
    assert all(n["selected"] == 12 and n["waiting"] == 0 for n in numbers)
    train_points(replace(config, start_loss=1e-9), tmp_path / "never", hardware=CPU)
    tensors = load_file(tmp_path / "never" / CHECKPOINT)
    labels = [v for k, v in tensors.items() if "label." in k]
    assert [int(v.sum()) for v in labels] == [2] * 12, "points, as they began"


def test_a_newcomer_with_twenty_clicks_and_no_mask(tmp_path: Path) -> None:
    """16-bit frames alone, a CSV of points, one command."""
    root = tmp_path / "mine"
    (root / "images").mkdir(parents=True)
    labels = {}
    for index in range(10):
        frame, mask = spots(100 + index, amplitude=120)
        Image.fromarray(frame.astype(np.uint16) * 40 + 3000).save(root / "images" / f"{index}.png")
        rows = np.argwhere(mask)
        left = rows[rows[:, 1] < 31].mean(axis=0), rows[rows[:, 1] >= 31].mean(axis=0)
        labels[str(index)] = np.array(left).astype(np.int32)
    write_points(tmp_path / "clicks.csv", labels)
    (tmp_path / "s.json").write_text(json.dumps({"model": "pit-n", "crops": [[1.0, SIDE]], "batch": 4}))
    words = ["pal", "--data", str(root), "--points", str(tmp_path / "clicks.csv"), "--epochs", "2"]
    words += ["--config", str(tmp_path / "s.json"), "--out", str(tmp_path / "run"), "--no-package"]
    assert cli.main([*words, "--accelerator", "cpu", "--devices", "1", "--precision", "32-true"]) == 0
    summary = json.loads((tmp_path / "run/run.json").read_text())
    assert summary["points"]["points"] == 20
    assert summary["points"]["outlined"] == 20
    assert summary["validation"] == []
    assert load_run(tmp_path / "run", "last")[0].required_multiple
    assert not (tmp_path / "run/best.safetensors").exists(), "without masks nothing can be chosen"


def test_refusals(spotted: Path, tmp_path: Path) -> None:
    train = [open_dataset(spotted, "train")]
    with pytest.raises(ValueError, match="50 clusters for 12 different images"):
        start_course(settings(SemanticPriorsConfig, spotted, clusters=50), train, tmp_path)
    with pytest.raises(ValueError, match="begin"):
        start_course(settings(PALConfig, spotted, polarity="dark"), train, tmp_path)
    with pytest.raises(DatasetError, match="no training data"):
        train_points(replace(settings(PALConfig, spotted), data=()), tmp_path, hardware=CPU)
    with pytest.raises(ValueError, match="this recipe needs a foundation model"):
        train_points(settings(SemanticPriorsConfig, spotted, vfm=""), tmp_path / "x", hardware=CPU)
    with pytest.raises(ValueError, match="takes no --mine"):
        settings(PALConfig, spotted, mine=("package",))
