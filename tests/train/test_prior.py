# SPDX-License-Identifier: Apache-2.0
"""A run of ``prior``: from frames to a file that ``fdep`` loads, the same for the same seed, and without any mask."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from pitviper.core.datasets import DatasetError
from pitviper.core.manifest import file_record
from pitviper.core.vfm import load_vfm
from pitviper.train import cli
from pitviper.train.config import FDEPConfig, PriorConfig
from pitviper.train.data.unlabelled import frames_sha256, load_unlabelled, open_frames
from pitviper.train.foundation import open_vfm
from pitviper.train.hardware import Hardware
from pitviper.train.prior import held_out_losses, new_transformer, train_prior
from pitviper.train.recipes.prior import PriorTask

Killed = Callable[[int], AbstractContextManager[None]]
CPU = Hardware(accelerator="cpu", devices="1", precision="32-true")
Make = Callable[..., PriorConfig]


@pytest.fixture(scope="module")
def make(tiny: Path) -> Make:
    """Settings of a run of a few seconds; keyword arguments override them."""

    def settings(**changes: object) -> PriorConfig:
        small: dict[str, object] = {
            "data": (str(tiny),),
            "epochs": 2,
            "depth": 1,
            "crops": ((1.0, 64),),
            "batch": 5,
            "ema": 0.9,
            "masked": 0.5,
        }
        return PriorConfig(**(small | changes))  # type: ignore[arg-type]

    return settings


@pytest.fixture(scope="module")
def trained(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of weights of a finished run with the settings of ``make``; tests do not change its folder."""
    return train_prior(make(), tmp_path_factory.mktemp("prior") / "whole", hardware=CPU)


def summary_of(weights: Path) -> dict[str, object]:
    summary: dict[str, object] = json.loads((weights.parent / "prior.json").read_text())
    return summary


def test_what_a_run_leaves(trained: Path, make: Make, tiny: Path) -> None:
    names = {path.name for path in trained.parent.iterdir()}
    assert names == {"prior.safetensors", "prior.json", "checkpoint.safetensors"}
    summary = json.loads((trained.parent / "prior.json").read_text())
    assert PriorConfig.from_dict(summary["config"]) == make()
    assert summary["weights"] == {"file": trained.name, **file_record(trained.read_bytes())}
    assert [(d["name"], d["split"], d["frames"]) for d in summary["data"]] == [("tiny", "train", 10)]
    assert [(d["name"], d["split"], d["frames"]) for d in summary["validation"]] == [("tiny", "val", 3)]
    assert summary["frames_sha256"] == frames_sha256(load_unlabelled([open_frames(tiny)]))
    assert [record["epoch"] for record in summary["history"]] == [1, 2]
    for record in summary["history"]:
        assert record["validation"]["tiny"].keys() == {"loss", "hidden", "planted"}


def test_fdep_loads_the_file_by_its_name_alone(trained: Path) -> None:
    state = load_file(trained)
    for vfm in (load_vfm(weights=trained), open_vfm(FDEPConfig(vfm_weights=str(trained)))):
        assert (vfm.patch_size, vfm.D, vfm.levels) == (8, 192, (1,))
        loaded = vfm.backbone.state_dict()
        assert {key.removeprefix("model.") for key in loaded} == set(state)
        assert [k for k in state if not torch.equal(loaded[f"model.{k}"], state[k])] == []
    assert [tuple(f.shape) for f in vfm(torch.zeros(1, 1, 96, 40))] == [(1, 192, 12, 5)]


def test_training_moves_the_weights_and_not_the_positions(trained: Path, make: Make) -> None:
    state = load_file(trained)
    start = new_transformer(make(), grid=8).state_dict()
    assert torch.equal(state["pos_embed"], start["pos_embed"])
    assert not torch.equal(state["patch_embed.proj.weight"], start["patch_embed.proj.weight"])
    assert not torch.equal(state["blocks.0.attn.qkv.weight"], start["blocks.0.attn.qkv.weight"])


def test_equal_seeds_give_equal_files(trained: Path, make: Make, tmp_path: Path) -> None:
    torch.manual_seed(123)
    again = train_prior(make(), tmp_path / "again", hardware=CPU)
    assert again.read_bytes() == trained.read_bytes()
    assert summary_of(again) == summary_of(trained)
    other = train_prior(make(seed=1, epochs=1), tmp_path / "other", hardware=CPU)
    assert other.read_bytes() != trained.read_bytes()


def test_a_killed_run_resumes_to_the_same_end(
    trained: Path, make: Make, tmp_path: Path, killed_in_epoch: Killed
) -> None:
    folder = tmp_path / "killed"
    with killed_in_epoch(2):
        train_prior(make(), folder, hardware=CPU)
    assert not (folder / "prior.safetensors").exists()
    with pytest.raises(FileExistsError, match=r"holds a run already; pass --resume"):
        train_prior(make(), folder, hardware=CPU)
    torch.manual_seed(99)
    resumed = train_prior(make(), folder, hardware=CPU, resume=True)
    assert resumed.read_bytes() == trained.read_bytes()
    assert summary_of(resumed) == summary_of(trained)


def test_resume_refuses_other_settings_and_other_frames(
    trained: Path, make: Make, tiny: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(trained.parent, tmp_path / "run")
    with pytest.raises(ValueError, match=r"a resumed run keeps its settings: masked was 0\.5, now 0\.6"):
        train_prior(make(masked=0.6), folder, hardware=CPU, resume=True)
    # The checkpoint names the folder, so another frame in the same place is what only the hash can tell.
    moved = shutil.copytree(tiny, tmp_path / "data" / "tiny")
    frames = sorted((moved / "images").iterdir())
    begun = train_prior(make(data=(str(moved),), epochs=1), tmp_path / "moved", hardware=CPU).parent
    shutil.copyfile(frames[1], frames[0])
    with pytest.raises(ValueError, match=r"the run was started with .*frames_sha256"):
        train_prior(make(data=(str(moved),), epochs=1), begun, hardware=CPU, resume=True)


def test_masks_are_not_read(trained: Path, make: Make, tiny: Path, tmp_path: Path) -> None:
    """Files that are no masks at all change nothing, neither in training nor in what is held out."""
    spoilt = shutil.copytree(tiny, tmp_path / "tiny")
    for mask in (spoilt / "masks").iterdir():
        mask.write_bytes(b"no image")
    found = train_prior(make(data=(str(spoilt),)), tmp_path / "run", hardware=CPU)
    assert found.read_bytes() == trained.read_bytes()
    assert summary_of(found)["history"] == summary_of(trained)["history"]


def test_adaptation_starts_from_the_given_weights(trained: Path, make: Make, tmp_path: Path) -> None:
    """With a learning rate of 0 what comes out is what went in; with another one it is not."""
    given = load_file(trained)
    still, moved = (
        load_file(
            train_prior(make(vfm_weights=str(trained), lr=lr, epochs=1), tmp_path / str(lr), hardware=CPU)
        )
        for lr in (0.0, 1e-3)
    )
    assert still.keys() == moved.keys() == given.keys()
    assert [k for k in given if not torch.equal(still[k], given[k])] == []
    assert not torch.equal(moved["blocks.0.attn.qkv.weight"], given["blocks.0.attn.qkv.weight"])
    summary = json.loads((tmp_path / "0.001" / "prior.json").read_text())
    assert summary["vfm"]["sha256"] == file_record(trained.read_bytes())["sha256"]


def test_held_out_losses_repeat_and_leave_no_trace(make: Make, tiny: Path) -> None:
    torch.manual_seed(0)
    settings = make(points=2)
    network = new_transformer(settings, grid=8)
    task = PriorTask(network, settings, mean=(0.5,) * 3, std=(0.2,) * 3).train()
    sets = {"tiny": load_unlabelled([open_frames(tiny)])}
    state = torch.get_rng_state()
    first = held_out_losses(task, sets)
    assert torch.equal(torch.get_rng_state(), state)
    assert task.training
    torch.manual_seed(7)
    assert held_out_losses(task, sets) == first
    assert first["tiny"]["loss"] == pytest.approx(
        first["tiny"]["hidden"] + settings.point_weight * first["tiny"]["planted"], rel=1e-5
    )


def test_frames_of_a_plain_folder(tiny: Path, make: Make, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny / "images", tmp_path / "sky")
    dataset = open_frames(folder)
    assert (dataset.name, dataset.split, len(dataset)) == ("sky", "all", 13)
    frames = load_unlabelled([dataset])
    assert not any(frame.mask.any() or len(frame.targets) for frame in frames)
    np.testing.assert_array_equal(frames[0].image, load_unlabelled([open_frames(tiny)])[0].image)
    weights = train_prior(make(data=(str(folder),), epochs=1), tmp_path / "run", hardware=CPU)
    assert summary_of(weights)["validation"] == []


def test_bad_data(make: Make, tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"no frames to learn from: pass --data FOLDER .* or --synthetic N"
    ):
        train_prior(make(data=()), tmp_path / "run", hardware=CPU)
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DatasetError, match=r"neither a data set \(no images/ folder\) nor a folder of frames"
    ):
        train_prior(make(data=(str(tmp_path / "empty"),)), tmp_path / "run", hardware=CPU)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"a\.png: not an image"):
        train_prior(make(data=(str(tmp_path / "broken"),)), tmp_path / "run", hardware=CPU)


def test_bad_models(make: Make, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"width must be one of 192, 384, .* got 100"):
        train_prior(make(width=100), tmp_path / "run", hardware=CPU)
    with pytest.raises(ValueError, match=r"tiny-random cannot be adapted; name a model of timm"):
        train_prior(make(vfm="tiny-random"), tmp_path / "run", hardware=CPU)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"no tensor patch_embed\.proj\.weight"):
        train_prior(make(vfm_weights=str(tmp_path / "other.safetensors")), tmp_path / "run", hardware=CPU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"masked": 1.0}, r"above 0 and below 1, got 1\.0"),
        ({"points": -1}, r"points and point_weight must be at least 0, got -1"),
        ({"depth": 0}, r"width, depth and patch must be at least 1"),
        ({"model": "pit-s"}, r"unknown setting: model; known are"),
        ({"target_share": 0.5}, r"unknown setting: target_share; known are"),
    ],
)
def test_bad_settings(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PriorConfig.from_dict(change)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {"synthetic": 4, "epochs": 1, "depth": 1, "batch": 4, "crops": [[1.0, 64]]}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    run = ["prior", "--config", str(tmp_path / "settings.json"), "--out", str(tmp_path / "run")]
    machine = ["--accelerator", "cpu", "--devices", "1", "--precision", "32-true"]
    assert cli.main([*run, *machine, "--masked", "0.6"]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(tmp_path / "run" / "prior.safetensors")
    assert "4 frames, held out: none" in printed.err
    assert json.loads((tmp_path / "run" / "prior.json").read_text())["config"]["masked"] == 0.6
    assert cli.main(["prior", "--out", str(tmp_path / "none"), *machine]) == 1
    assert "no frames to learn from" in capsys.readouterr().err


def test_what_was_adapted_comes_back_as_what_it_was(make: Make, tmp_path: Path) -> None:
    """This architecture cannot be told by its shapes, and its own scale is not ImageNet's."""
    pytest.importorskip("timm")
    changes = {"vfm": "random:eva02_tiny_patch14_224", "epochs": 1, "crops": ((1.0, 56),), "masked": 0.5}
    path = train_prior(make(**changes), tmp_path / "run", hardware=CPU)
    vfm = load_vfm(weights=path)
    assert vfm.backbone.patch_size == 14
    named = load_vfm("eva02_tiny_patch14_224", seed=0)
    assert torch.equal(vfm.mean, named.mean)
    assert torch.equal(vfm.std, named.std)
