# SPDX-License-Identifier: Apache-2.0
"""FDEP from the command line to a package: resume, report of either branch, nothing foreign in the weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from safetensors import safe_open
from safetensors.torch import load_file

from pitviper.core.datasets import open_dataset
from pitviper.core.manifest import read_package
from pitviper.core.models import create_model
from pitviper.train import cli, loop
from pitviper.train import run as run_module
from pitviper.train.config import FDEPConfig, SupervisedConfig, recipe_of
from pitviper.train.data.store import load_frames
from pitviper.train.foundation import open_vfm
from pitviper.train.recipes.fdep import FDEPTask, MainBranch
from pitviper.train.report import report_run
from pitviper.train.run import (
    Hardware,
    load_main_branch,
    load_run,
    save_weights,
    train_fdep,
    train_supervised,
)
from pitviper.train.state import read_numbers
from pitviper.train.validate import predict_standardised, validate

Killed = Callable[[int], AbstractContextManager[None]]
CPU = Hardware(accelerator="cpu", devices="1", precision="32-true")
Make = Callable[..., SupervisedConfig]


@pytest.fixture(scope="module")
def settings(config: Make) -> FDEPConfig:
    common = config(epochs=2).to_dict()
    return FDEPConfig.from_dict(common | {"vfm": "tiny-random", "levels": [2, 4]})


@pytest.fixture(scope="module")
def run(settings: FDEPConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs, started from the command line; tests do not change it."""
    folder = tmp_path_factory.mktemp("fdep")
    file = folder / "train.json"
    file.write_text(json.dumps({"crops": [[1.0, 64]], "batch": 4, "validate_every": 2, "ema": 0.9}))
    words = ["--config", str(file), "--data", settings.data[0], "--model", "pit-n", "--epochs", "2"]
    words += [
        "--vfm",
        "tiny-random",
        "--levels",
        "2,4",
        "--accelerator",
        "cpu",
        "--devices",
        "1",
        "--no-package",
    ]
    assert cli.main(["fdep", "--out", str(folder / "run"), *words, "--precision", "32-true"]) == 0
    return folder / "run"


def names_in(path: Path) -> set[str]:
    with safe_open(path, framework="pt") as file:
        return set(file.keys())


def test_summary(run: Path, settings: FDEPConfig) -> None:
    summary = json.loads((run / "run.json").read_text())
    assert summary["recipe"] == "fdep"
    assert FDEPConfig.from_dict(summary["config"]) == settings
    assert summary["vfm"].keys() > {"mean", "std"}
    assert {key: summary["vfm"][key] for key in ("name", "levels", "dim", "patch_size")} == {
        "name": "tiny-random",
        "levels": [2, 4],
        "dim": 32,
        "patch_size": 16,
    }
    assert summary["history"][0].keys() >= {"loss", "main", "light", "soft_iou", "hard_bce"}
    assert [record["epoch"] for record in summary["history"]] == [1, 2]


def test_kept_weights_hold_the_plain_network_and_the_checkpoint_all_but_the_foundation_model(
    run: Path,
) -> None:
    plain = set(create_model("pit-n").state_dict())
    assert names_in(run / "last.safetensors") == plain == names_in(run / "best.safetensors")
    parts = {tuple(name.split(".")[0].split("/")) for name in names_in(run / "checkpoint.safetensors")}
    assert {p for p in parts if p[0] == "task"} == {
        ("task", "network"),
        ("task", "samf"),
        ("task", "main_statistics"),
    }
    inner = {
        n.removeprefix("average/module.").split(".")[0] for n in names_in(run / "checkpoint.safetensors")
    }
    assert {"network", "samf", "main_statistics"} <= inner
    assert not any("vfm" in n or "backbone" in n for n in names_in(run / "checkpoint.safetensors"))


def test_killed_run_resumes_to_the_same_end(
    run: Path, settings: FDEPConfig, tmp_path: Path, killed_in_epoch: Killed
) -> None:
    with killed_in_epoch(2):
        train_fdep(settings, tmp_path, hardware=CPU)
    with pytest.raises(
        ValueError, match=r"a resumed run keeps its settings: light_weight was 1\.0, now 0\.5"
    ):
        train_fdep(replace(settings, light_weight=0.5), tmp_path, hardware=CPU, resume=True)
    common = {k: v for k, v in settings.to_dict().items() if k in SupervisedConfig().to_dict()}
    with pytest.raises(ValueError, match=r"the run is one of 'fdep', not of 'supervised'"):
        train_supervised(SupervisedConfig.from_dict(common), tmp_path, hardware=CPU, resume=True)
    torch.manual_seed(99)
    train_fdep(settings, tmp_path, hardware=CPU, resume=True)
    for name in ("last.safetensors", "best.safetensors", "checkpoint.safetensors"):
        a, b = load_file(run / name), load_file(tmp_path / name)
        assert a.keys() == b.keys()
        assert [key for key in a if not torch.equal(a[key], b[key])] == []
    assert json.loads((run / "run.json").read_text()) == json.loads((tmp_path / "run.json").read_text())


def test_main_branch_of_a_finished_run(run: Path, tiny: Path) -> None:
    main, _ = load_main_branch(run)
    light, _ = load_run(run, "last")
    frames = load_frames([open_dataset(tiny, "val")])
    a, b = (predict_standardised(network, frames[0].image) for network in (main, light))
    assert a.shape == b.shape
    assert not np.array_equal(a, b)
    assert validate(main, {"tiny": frames}).keys() == {"tiny"}
    saved = load_file(run / "checkpoint.safetensors")
    assert isinstance(main, MainBranch)
    for key, value in main.task.samf.state_dict().items():
        assert torch.equal(saved[f"average/module.samf.{key}"], value)


def test_main_branch_needs_an_fdep_run_and_the_same_file(
    finished: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="is a run of 'supervised'; only fdep and semantic_priors have"):
        load_main_branch(finished)
    summary = json.loads((run / "run.json").read_text())
    summary["vfm"]["sha256"] = "another"
    (tmp_path / "run.json").write_text(json.dumps(summary))
    with pytest.raises(ValueError, match="the run was trained with another"):
        load_main_branch(tmp_path)
    assert cli.main(["report", str(run), str(tmp_path / "r"), "--branch", "main"]) == 1
    assert "add --weights last" in capsys.readouterr().err


def test_package(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    assert cli.main(["package", str(run), str(tmp_path / "p"), "--weights", "last"]) == 0
    package = read_package(tmp_path / "p")
    assert package.manifest.training["vfm"]["name"] == "tiny-random"
    assert package.manifest.training["command"].startswith("pitviper-train fdep --config config.json")
    kept = load_file(run / "last.safetensors")
    packed = load_file(tmp_path / "p" / "model.safetensors")
    assert packed.keys() == kept.keys()
    assert all(torch.equal(kept[key], packed[key]) for key in kept)
    for name in ("model.onnx", "network.onnx"):
        content = package.read(name)
        assert b"samf" not in content
        assert b"vfm" not in content


def test_report_of_either_branch_and_of_both(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    stored = {}
    for branch, shown in (("main", "main"), ("both", "light branch (the one that is kept) and main")):
        words = ["--weights", "last", "--branch", branch]
        assert cli.main(["report", str(run), str(tmp_path / branch), *words]) == 0
        page = (tmp_path / branch / "report.html").read_text()
        assert f"fdep with tiny-random, levels 2, 4; {shown} branch" in page
        stored[branch] = json.loads((tmp_path / branch / "metrics.json").read_text())["sets"]
    assert stored["both"].keys() == {"tiny val, light", "tiny val, main"}
    main, light = (stored["both"][f"tiny val, {branch}"]["metrics"] for branch in ("main", "light"))
    assert main == stored["main"]["tiny val"]["metrics"]
    assert main["sweep"] != light["sweep"], "each has its own curves"


def test_a_page_has_room_for_few_sets_of_both_branches(run: Path, tiny: Path, tmp_path: Path) -> None:
    for name in ("run.json", "last.safetensors", "checkpoint.safetensors"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    folders = [tmp_path / f"set-{i}" for i in range(4)]
    for folder in folders:
        shutil.copytree(tiny, folder)
    summary = json.loads((run / "run.json").read_text())
    summary["config"]["data"] = [str(folder) for folder in folders]
    summary["validation"] = [summary["validation"][0] | {"name": folder.name} for folder in folders]
    (tmp_path / "run.json").write_text(json.dumps(summary))
    with pytest.raises(
        ValueError, match="4 sets of 2 branches do not fit on one page of 6; take --branch light"
    ):
        report_run(tmp_path, tmp_path / "report", "last", branch="both")


def test_messages_name_the_fix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["fdep", "--out", str(tmp_path / "run"), "--synthetic", "4", "--accelerator", "cpu"]
    assert cli.main(words) == 1
    assert "--vfm tiny-random" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main([*words, "--levels", "three"])
    assert "block numbers such as 3,6,9,12" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_nothing_foreign_is_ever_kept(run: Path, tmp_path: Path) -> None:
    main, _ = load_main_branch(run)
    assert isinstance(main, MainBranch)
    with pytest.raises(AssertionError, match="kept weights are the plain network's, not"):
        save_weights(main.task, tmp_path / "all.safetensors")
    assert not list(tmp_path.iterdir())


def test_checkpoints_name_the_recipe_and_old_ones_are_supervised(finished: Path, run: Path) -> None:
    supervised, fdep = (read_numbers(folder / "checkpoint.safetensors") for folder in (finished, run))
    assert (recipe_of(supervised), recipe_of(fdep)) == ("supervised", "fdep")
    del supervised["recipe"]
    assert recipe_of(supervised) == "supervised"


def test_a_resumed_run_keeps_its_foundation_model(
    run: Path, settings: FDEPConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was replaced under the same name is seen by its hash."""
    other = {"name": "tiny-random", "sha256": "another"}
    monkeypatch.setattr(run_module, "describe_vfm", lambda config, vfm: other)
    (tmp_path / "checkpoint.safetensors").write_bytes((run / "checkpoint.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"the run was started with .*, now there is .*another"):
        train_fdep(settings, tmp_path, hardware=CPU, resume=True)


def test_optimiser_and_average_hold_no_foundation_model(settings: FDEPConfig, tmp_path: Path) -> None:
    task = FDEPTask(create_model(settings.model), open_vfm(settings), settings)
    started = loop.start(Fabric(accelerator="cpu", devices=1), task, settings, tmp_path)
    frozen = {id(p) for p in task.vfm.backbone.parameters()}
    stepped = {id(p) for group in started.optimizer.param_groups for p in group["params"]}
    assert stepped == {id(p) for p in task.parameters()}
    assert not frozen & stepped
    copied = started.average.module
    assert isinstance(copied, FDEPTask)
    assert copied.vfm is task.vfm, "the averaged copy shares it"
    assert not frozen & {id(p) for p in started.average.parameters()}
    assert len(list(copied.parameters())) == len(list(task.parameters()))
    started.task.train()
    assert not any(module.training for module in task.vfm.backbone.modules())


@pytest.mark.parametrize("statistics", ["separate", "shared", "joint"])
def test_mixed_precision_and_dropout(settings: FDEPConfig, tmp_path: Path, statistics: str) -> None:
    changed = replace(settings, model="acm", statistics=statistics, distillation=16.0, epochs=1)
    train_fdep(changed, tmp_path, hardware=replace(CPU, precision="bf16-mixed"))
    record = json.loads((tmp_path / "run.json").read_text())["history"][0]
    assert record["loss"] == pytest.approx(
        record["main"] + record["light"] + 16 * record["distillation"], rel=1e-3
    )
    assert names_in(tmp_path / "last.safetensors") == set(create_model("acm").state_dict())
