# SPDX-License-Identifier: Apache-2.0
"""A run from settings to a folder: what it leaves, that it repeats, and that a killed one goes on to the same end."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partialmethod
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from torch._dynamo.utils import counters

from pitviper.core.datasets import DatasetError
from pitviper.core.manifest import file_record
from pitviper.core.models import create_model
from pitviper.train import loop
from pitviper.train.config import SupervisedConfig
from pitviper.train.data.splits import open_splits
from pitviper.train.epoch import learning_rate
from pitviper.train.hardware import Hardware, launch
from pitviper.train.run import load_run, start_from, train_supervised
from pitviper.train.validate import selection_score

Killed = Callable[[int], AbstractContextManager[None]]
CPU = Hardware(accelerator="cpu", devices="1", precision="32-true")
Make = Callable[..., SupervisedConfig]


def assert_equal_files(first: Path, second: Path) -> None:
    a, b = load_file(first), load_file(second)
    assert a.keys() == b.keys()
    assert [key for key in a if not torch.equal(a[key], b[key])] == []


def summary_of(folder: Path) -> dict[str, object]:
    summary: dict[str, object] = json.loads((folder / "run.json").read_text())
    return summary


def test_what_a_run_leaves(finished: Path, config: Make) -> None:
    names = {path.name for path in finished.iterdir()}
    assert names == {
        "best.safetensors",
        "checkpoint.safetensors",
        "last.safetensors",
        "run.json",
        "tensorboard",
    }
    summary = json.loads((finished / "run.json").read_text())
    assert SupervisedConfig.from_dict(summary["config"]) == config()
    assert [record["epoch"] for record in summary["history"]] == [1, 2, 3]
    assert [bool(record.get("validation")) for record in summary["history"]] == [True, True, True]
    assert summary["history"][0]["validation"]["tiny"].keys() >= {"iou", "fa_per_mpix"}
    assert summary["data"][0]["frames"] == 10
    assert summary["validation"][0]["split"] == "val"
    assert not list(finished.glob("*.partial"))


def test_training_lowers_the_loss(finished: Path) -> None:
    history = json.loads((finished / "run.json").read_text())["history"]
    assert history[-1]["loss"] < history[0]["loss"]


def test_best_is_the_epoch_with_the_highest_score(finished: Path) -> None:
    history = json.loads((finished / "run.json").read_text())["history"]
    scores = [selection_score(record["validation"]) for record in history]
    with safe_open(finished / "best.safetensors", framework="pt") as file:
        assert int(file.metadata()["epoch"]) == 1 + scores.index(max(scores))


def test_equal_seeds_give_equal_runs(finished: Path, config: Make, tmp_path: Path) -> None:
    again = train_supervised(config(), tmp_path / "again", hardware=CPU)
    for name in ("last.safetensors", "best.safetensors", "checkpoint.safetensors"):
        assert_equal_files(finished / name, again / name)
    assert summary_of(finished) == summary_of(again)


def test_a_compiled_run_learns_the_same(
    finished: Path, config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Torch's own compiler takes a minute here; what is ours ends where the graphs are handed to it.
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="aot_eager"))
    counters.clear()
    folder = train_supervised(config(), tmp_path / "compiled", hardware=replace(CPU, compile=True))
    assert counters["stats"]["unique_graphs"] > 0
    assert load_file(folder / "last.safetensors").keys() == load_file(finished / "last.safetensors").keys()
    plain, compiled = (json.loads((run / "run.json").read_text())["history"] for run in (finished, folder))
    # Sums in another order, which AdamW's first steps make larger where a gradient is almost 0.
    assert [r["loss"] for r in compiled] == pytest.approx([r["loss"] for r in plain], rel=0.01)


@pytest.mark.parametrize("number", [2, 3])
def test_a_killed_run_resumes_to_the_same_end(
    finished: Path, config: Make, tmp_path: Path, number: int, killed_in_epoch: Killed
) -> None:
    folder = tmp_path / "killed"
    with killed_in_epoch(number):
        train_supervised(config(), folder, hardware=CPU)
    assert not (folder / "last.safetensors").exists()
    with pytest.raises(FileExistsError, match=r"holds a run already; pass --resume"):
        train_supervised(config(), folder, hardware=CPU)
    torch.manual_seed(99)  # the state of the process that goes on does not matter
    train_supervised(config(), folder, hardware=CPU, resume=True)
    for name in ("last.safetensors", "best.safetensors", "checkpoint.safetensors"):
        assert_equal_files(finished / name, folder / name)
    assert summary_of(folder) == summary_of(finished)


def test_a_killed_run_goes_on_where_its_data_was_moved_to(
    finished: Path, config: Make, tmp_path: Path, killed_in_epoch: Killed, tiny: Path
) -> None:
    before, now = tmp_path / "before" / tiny.name, tmp_path / "now" / tiny.name
    shutil.copytree(tiny, before)
    folder = tmp_path / "killed"
    with killed_in_epoch(2):
        train_supervised(config(data=(str(before),)), folder, hardware=CPU)
    now.parent.mkdir()
    before.rename(now)
    shutil.copytree(now, tmp_path / "other")
    with pytest.raises(ValueError, match=r"data was \['tiny'\], now \['other'\]"):
        train_supervised(config(data=(str(tmp_path / "other"),)), folder, hardware=CPU, resume=True)
    train_supervised(config(data=(str(now),)), folder, hardware=CPU, resume=True)
    assert_equal_files(finished / "last.safetensors", folder / "last.safetensors")
    assert summary_of(folder)["config"]["data"] == [str(now)]


def test_a_network_with_dropout_resumes_to_the_same_end(
    config: Make, tmp_path: Path, killed_in_epoch: Killed
) -> None:
    settings = config(model="acm", epochs=2)
    whole = train_supervised(settings, tmp_path / "whole", hardware=CPU)
    with killed_in_epoch(2):
        train_supervised(settings, tmp_path / "killed", hardware=CPU)
    train_supervised(settings, tmp_path / "killed", hardware=CPU, resume=True)
    assert_equal_files(whole / "last.safetensors", tmp_path / "killed/last.safetensors")


def test_resume_refuses_other_settings(finished: Path, config: Make) -> None:
    with pytest.raises(ValueError, match=r"a resumed run keeps its settings: lr was 0\.0015, now 0\.1"):
        train_supervised(config(lr=0.1), finished, hardware=CPU, resume=True)


def test_resume_refuses_another_precision(finished: Path, config: Make) -> None:
    with pytest.raises(ValueError, match="started with precision 32-true, now there is bf16-mixed"):
        train_supervised(config(), finished, hardware=replace(CPU, precision="bf16-mixed"), resume=True)


def test_resume_needs_a_checkpoint(config: Make, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no checkpoint to resume from; leave --resume out"):
        train_supervised(config(), tmp_path, hardware=CPU, resume=True)


def test_no_data(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"pass --data FOLDER .* or --synthetic N"):
        train_supervised(SupervisedConfig(), tmp_path, hardware=CPU)


def test_too_few_frames_for_a_batch(config: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"10 crops an epoch do not fill a batch of 64; lower --batch"):
        train_supervised(config(batch=64), tmp_path, hardware=CPU)


def test_synthetic_frames_alone(tmp_path: Path) -> None:
    """Without a val split there is a last epoch and no best one, and asking for the best says so."""
    config = SupervisedConfig(model="pit-n", synthetic=4, epochs=1, crops=((1.0, 64),), batch=4)
    folder = train_supervised(config, tmp_path / "run", hardware=CPU)
    network, _ = load_run(folder, "last")
    assert not network.training
    with pytest.raises(FileNotFoundError, match=r"without a val split .* --weights last"):
        load_run(folder, "best")


def test_load_run_needs_a_finished_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no run\.json: the run is not finished"):
        load_run(tmp_path, "last")


def test_learning_rate() -> None:
    config = SupervisedConfig(lr=1.0, warmup=0.1)
    rates = [learning_rate(config, i / 100) for i in range(101)]
    assert rates[0] == pytest.approx(1e-3)
    assert rates[5] == pytest.approx(0.5)
    assert rates[10] == 1.0
    assert rates[55] == pytest.approx(0.505)
    assert rates[100] == pytest.approx(0.01)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_two_folders_of_one_name_are_refused_and_one_folder_twice_counts_twice(
    tiny: Path, config: Make, tmp_path: Path
) -> None:
    (tmp_path / "tiny").symlink_to(tiny, target_is_directory=True)
    train, val = open_splits((str(tiny), str(tmp_path / "tiny")))
    assert [len(each) for each in train] == [10, 10]
    assert [len(each) for each in val] == [3]
    shutil.copytree(tiny, tmp_path / "copy" / "tiny")
    changed = config(data=(str(tiny), str(tmp_path / "copy" / "tiny")))
    with pytest.raises(DatasetError, match=r"two data sets are called 'tiny'.*rename one"):
        train_supervised(changed, tmp_path / "run", hardware=CPU)
    assert not (tmp_path / "run").exists()


def test_start_from_copies_weights_and_names_them(finished: Path) -> None:
    kept = finished / "last.safetensors"
    network = create_model("pit-n")
    facts = start_from(kept, network)
    assert facts["sha256"] == hashlib.sha256(kept.read_bytes()).hexdigest()
    for name, tensor in load_file(kept).items():
        assert torch.equal(network.state_dict()[name], tensor)


def test_start_from_refuses_other_weights(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds the weights of another network"):
        start_from(finished / "last.safetensors", create_model("pit-s"))
    with pytest.raises(FileNotFoundError, match=r"--init .*: no such file"):
        start_from(tmp_path / "none.safetensors", create_model("pit-n"))


def test_a_run_starts_from_given_weights(config: Make, finished: Path, tmp_path: Path) -> None:
    """With a learning rate near zero the end is the start."""
    kept = finished / "last.safetensors"
    folder = train_supervised(config(epochs=1, lr=1e-12, init=str(kept)), tmp_path / "run", hardware=CPU)
    given, ended = load_file(kept), load_file(folder / "last.safetensors")
    for name in given:
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(ended[name], given[name], rtol=0, atol=1e-6)
    assert summary_of(folder)["init"] == {"weights": "last.safetensors", **file_record(kept.read_bytes())}


def test_the_optimiser_is_made_where_the_run_is(
    config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its state goes to where its parameters are when it is read from a checkpoint, which would be the CPU else."""
    order: list[str] = []
    fabric, network = launch(CPU, 0), create_model("pit-n")
    make, move = loop.make_optimizer, fabric.to_device
    monkeypatch.setattr(loop, "make_optimizer", lambda *given: (order.append("optimiser"), make(*given))[1])
    monkeypatch.setattr(fabric, "to_device", lambda *given: (order.append("device"), move(*given))[1])
    loop.start(fabric, network, config(), tmp_path)
    assert order[:2] == ["device", "optimiser"]
