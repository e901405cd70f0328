# SPDX-License-Identifier: Apache-2.0
"""The comparison of FDEP: runs differ in the condition alone, finished ones are kept, differences are paired."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch


@pytest.fixture(scope="module")
def script(benchmark_script: Callable[[str], ModuleType]) -> ModuleType:
    return benchmark_script("fdep")


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vision transformer of two blocks."""
    if importlib.util.find_spec("timm") is None:
        pytest.skip("timm is not installed")
    try:
        import timm
    except RuntimeError as error:
        pytest.skip(f"timm cannot be imported: {error}")
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("prior") / "prior.safetensors"
    torch.manual_seed(0)
    save_file(timm.create_model("vit_tiny_patch16_224", num_classes=0, depth=2).state_dict(), path)
    return path


def options_for(script: ModuleType, *words: str) -> argparse.Namespace:
    found: argparse.Namespace = script.read_options(["--work", "w", "--data", "d", *words])
    return found


def test_interval_of_few_values(script: ModuleType) -> None:
    paired = sys.modules["paired"]
    found = paired.estimate([1.0, 2.0, 3.0])
    half = 4.302653 / 3**0.5  # the 97.5 % point of t with two degrees of freedom
    assert (found["mean"], found["count"]) == (2.0, 3)
    assert found["low"] == pytest.approx(2.0 - half, abs=1e-5)
    assert found["high"] == pytest.approx(2.0 + half, abs=1e-5)
    assert paired.estimate([0.5]) == {"mean": 0.5, "low": None, "high": None, "count": 1}
    assert paired.difference({0: 1.0}, {1: 1.0}) is None


def test_differences_are_paired_by_seed_and_taken_to_the_light_branch(script: ModuleType) -> None:
    def run(condition: str, branch: str, seed: int, iou: float) -> dict[str, Any]:
        facts = {"model": "m", "condition": condition, "branch": branch, "seed": seed}
        return {**facts, "sets": {"s": {"iou": iou, "pd": None}}}

    runs = [run("supervised", "light", seed, iou) for seed, iou in ((0, 0.2), (1, 0.6), (2, 0.9))]
    runs += [run("random", "light", seed, iou) for seed, iou in ((1, 0.7), (0, 0.3))]
    runs += [run("random", "main", 0, 0.1)]
    base, light, main = script.summarise(runs, base="supervised", metrics=("iou", "pd"))
    assert base["iou"]["difference"] is None
    assert base["seeds"] == [0, 1, 2]
    found = light["iou"]["difference"]
    assert (found["mean"], found["count"]) == (pytest.approx(0.1), 2)
    assert found["high"] - found["low"] < 1e-6, "the spread between seeds is gone"
    assert main["iou"]["difference"]["mean"] == pytest.approx(-0.1)
    assert "pd" not in light, "a metric that is undefined for a seed has no mean"


def test_conditions_differ_in_nothing_else(script: ModuleType) -> None:
    names = [
        "supervised",
        "random",
        "in-domain",
        "dinov2",
        "random-dinov2",
        "in-domain+levels=2/6+samf_style=plain+distillation=16",
    ]
    given = ("--vfm", "dinov2=vit_small_patch14_dinov2.lvd142m", "--upright", "dots")
    options = options_for(script, "--prior", "p.safetensors", *given, "--conditions", *names)
    found = [script.settings_of(script.Cell("pit-n", name, 3), options).to_dict() for name in names]
    for settings in found[1:]:
        assert {key: settings[key] for key in found[0]} == found[0]
    named = ["vit_small_patch14_dinov2.lvd142m", "random:vit_small_patch14_dinov2"]
    assert [s.get("vfm") for s in found] == [None, "random", "", *named, ""]
    assert all(s["upright"] == ("dots",) for s in found)
    assert (found[5]["levels"], found[5]["samf_style"], found[5]["distillation"]) == ((2, 6), "plain", 16.0)


def test_a_published_model_may_be_a_file(script: ModuleType, prior: Path) -> None:
    names = ["supervised", "sam", "random-sam"]
    options = options_for(script, "--vfm", f"sam={prior}", "--conditions", *names)
    found = [script.settings_of(script.Cell("pit-n", name, 3), options) for name in names[1:]]
    assert [(s.vfm, s.vfm_weights) for s in found] == [("", str(prior)), ("random", str(prior))]
    with pytest.raises(
        SystemExit, match=r"unknown condition 'other'; known are .*in-domain, sam; --vfm NAME=FILE"
    ):
        options_for(script, "--vfm", f"sam={prior}", "--conditions", "other")
    with pytest.raises(SystemExit, match="--vfm takes CONDITION=FILE"):
        options_for(script, "--vfm", "sam", "--conditions", "supervised")


def test_from_runs_to_tables_and_again(
    script: ModuleType, data: Path, prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        "--work",
        str(tmp_path / "work"),
        "--results",
        str(tmp_path),
        "--data",
        str(data),
        "--epochs",
        "1",
    ]
    words += ["--crop", "64", "--batch", "2", "--seeds", "0", "1", "--prior", str(prior)]
    words += ["--conditions", "supervised", "in-domain"]
    starts: dict[str, dict[str, torch.Tensor]] = {}
    real_fit = script.train_fdep.__globals__["loop"].fit

    def watch(run: Any, *positional: Any, **named: Any) -> None:
        if run.folder.parent.name == "work":
            network = run.average.module.network
            starts[run.folder.name] = {k: v.clone() for k, v in network.state_dict().items()}
        real_fit(run, *positional, **named)

    monkeypatch.setattr(script.train_fdep.__globals__["loop"], "fit", watch)
    assert script.main(words) == 0
    for seed in ("0", "1"):
        first, second = starts[f"pit-n-supervised-{seed}"], starts[f"pit-n-in-domain-{seed}"]
        assert all(torch.equal(first[key], second[key]) for key in first), "first weights of a seed are one"
    assert any(
        not torch.equal(v, starts["pit-n-supervised-1"][k]) for k, v in starts["pit-n-supervised-0"].items()
    )

    result = json.loads((tmp_path / "fdep.json").read_text())
    branches = [(r["condition"], r["branch"], r["seed"]) for r in result["runs"]]
    assert branches[:3] == [("supervised", "light", 0), ("in-domain", "light", 0), ("in-domain", "main", 0)]
    assert len(branches) == 6
    curves = result["runs"][0]["sets"]["dots"]["curves"]
    assert len(curves["iou"]) == len(result["hse_thresholds"]) == 19
    cost = {row["condition"]: row for row in result["training_cost"]}
    assert cost["in-domain"]["frozen_parameters"] > 1e6
    assert cost["supervised"]["frozen_parameters"] == 0
    assert cost["in-domain"]["deployed"] == cost["supervised"]["deployed"]
    assert "Difference to supervised" in script.tables(result)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a finished run was trained again")

    with monkeypatch.context() as patch:
        patch.setattr(script, "train", refuse)
        patch.setattr(script, "judge", refuse)
        assert script.main(words) == 0
        assert json.loads((tmp_path / "fdep.json").read_text())["runs"] == result["runs"]
        with pytest.raises(
            SystemExit, match=r"holds another run \(epochs 1 instead of 2; .*use another --work"
        ):
            script.main([*words, "--epochs", "2"])
    (tmp_path / "work/pit-n-in-domain-1/run.json").unlink()
    assert script.main(words) == 0, "a killed run goes on from its checkpoint"
    assert json.loads((tmp_path / "fdep.json").read_text())["runs"] == result["runs"]
