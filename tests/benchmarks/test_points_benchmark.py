# SPDX-License-Identifier: Apache-2.0
"""The comparison of recipes that learn from points: conditions differ in what they name, and runs make a table."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("points")


def options_for(script: ModuleType, *words: str) -> argparse.Namespace:
    found: argparse.Namespace = script.read_options(["--work", "w", "--data", "d", *words])
    return found


def test_conditions_differ_in_what_they_name(script: ModuleType) -> None:
    names = ["supervised", "pal", "lesps", "semantic_priors", "semantic_priors+bilevel=none+strength=0"]
    options = options_for(script, "--prior", "p.safetensors", "--conditions", *names)
    found = [script.settings_of(script.Cell("pit-n", name, 3), options).to_dict() for name in names]
    shared = ("model", "epochs", "crops", "batch", "optimizer", "lr", "ema", "seed", "validate_every")
    for settings in found[1:]:
        assert {key: settings[key] for key in shared} == {key: found[0][key] for key in shared}
        assert settings["points"] == "centroid"
    assert {k for k in found[3] if found[3][k] != found[4][k]} == {"bilevel", "strength"}


def test_late_deviation_is_that_of_the_last_fifth(script: ModuleType) -> None:
    history = [{"validation": {"a": {"iou": iou}}} for iou in [0.0] * 8 + [0.4, 0.6]]
    assert script.late_deviation(history) == {"a": pytest.approx(0.02**0.5)}


def test_from_runs_to_a_table(script: ModuleType, data: Path, tmp_path: Path) -> None:
    words = [
        "--work",
        str(tmp_path / "work"),
        "--results",
        str(tmp_path),
        "--data",
        str(data),
        "--epochs",
        "2",
    ]
    words += ["--crop", "64", "--batch", "2", "--seeds", "0", "1", "--conditions", "supervised", "pal"]
    assert script.main(words) == 0
    result: dict[str, Any] = json.loads((tmp_path / "points.json").read_text())
    assert [(r["condition"], r["seed"]) for r in result["runs"]] == [
        ("supervised", 0), ("pal", 0), ("supervised", 1), ("pal", 1)
    ]  # fmt: skip
    learned = result["runs"][1]
    assert learned["cpu_s"] > 0.0
    assert learned["labels"]["first"]["frames"] == 4
    assert 0.0 < learned["labels"]["first"]["iou"] <= 1.0, "the first masks, not the truth, are trained with"
    assert {row["condition"] for row in result["late_deviation"]} == {"supervised", "pal"}
    table = script.markdown(result)
    assert "| pit-n | pal | student | dots | 2 |" in table
    assert "of supervised IoU" in table
    assert "salient (2 targets)" in table, "two frames, however many seeds"
    assert script.main(words) == 0, "finished runs are kept"


def test_labels_of_finished_runs(
    benchmark_script: Callable[[str], ModuleType], script: ModuleType, data: Path, tmp_path: Path
) -> None:
    work, words = tmp_path / "work", ["--data", str(data), "--results", str(tmp_path)]
    short = ["--epochs", "3", "--crop", "64", "--batch", "2", "--seeds", "0", "--conditions", "pal+start=0.0"]
    assert script.main(["--work", str(work), *words, *short]) == 0
    drift = benchmark_script("label_drift")
    assert drift.main([*words, str(work / "pit-n-pal+start=0.0-0")]) == 0
    result: dict[str, Any] = json.loads((tmp_path / "label_drift.json").read_text())
    (run,) = result["runs"]
    history = json.loads((work / run["run"] / "run.json").read_text())["history"]
    told = history[-1]["companion"]
    for measure, value in run["sets"]["dots"]["last"].items():
        assert value == pytest.approx(told[measure], abs=1e-4), "as the run itself told at its end"
    assert "| pit-n-pal+start=0.0 | dots | 1 |" in drift.markdown(result)


def test_a_run_that_was_judged_without_classes_leaves_its_cells_open(
    benchmark_script: Callable[[str], ModuleType],
) -> None:
    salient = {"salient": {"targets": 4, "found": 2, "pd": 0.5, "iou": 0.75}}
    runs = [
        {"model": "m", "condition": "supervised", "branch": "light", "sets": {"a": {}}},
        {"model": "m", "condition": "pal", "branch": "light", "sets": {"a": {"classes": salient}}},
    ]
    table = benchmark_script("points_table")._classes(runs)
    assert "| m | supervised | - | - |" in table
    assert "| m | pal | student | 50 / 75 |" in table


def test_a_row_that_does_not_fit_its_head_is_refused(benchmark_script: Callable[[str], ModuleType]) -> None:
    table = benchmark_script("markdown_table").markdown_table
    assert table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    with pytest.raises(ValueError, match="a row of 1 cells under 2 columns"):
        table(["a", "b"], [["1"]])
