# SPDX-License-Identifier: Apache-2.0
"""What a user can give that cannot be trained on ends as one line and exit code 1; what can be is said aloud."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pitviper.core.models import create_model
from pitviper.train import cli
from pitviper.train import run as run_module

SMALL = ["--model", "pit-n", "--epochs", "1", "--batch", "4", "--no-package"]
CPU = ["--accelerator", "cpu", "--devices", "1", "--precision", "32-true"]

Fails = Callable[..., str]


@pytest.fixture
def fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Fails:
    """Runs a command that must fail, and gives its message."""
    settings = tmp_path / "train.json"
    settings.write_text('{"crops": [[1.0, 64]]}')

    def run(recipe: str, *words: str) -> str:
        out = ["--out", str(tmp_path / "run"), "--config", str(settings)]
        capsys.readouterr()
        assert cli.main([recipe, *out, *SMALL, *CPU, *words]) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        message = printed.err.splitlines()[-1]
        assert message.startswith("pitviper-train: ")
        assert "Traceback" not in printed.err
        return message

    return run


@pytest.fixture
def own(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the data set that a test may spoil."""
    return Path(shutil.copytree(tiny, tmp_path / "own"))


def unlist(root: Path) -> Path:
    shutil.rmtree(root / "splits")
    return root


def test_masks_without_images(own: Path, fails: Fails) -> None:
    (unlist(own) / "images/003.png").unlink()
    assert "003.png in masks/ without a frame" in fails("supervised", "--data", str(own))


def test_images_without_masks(own: Path, fails: Fails) -> None:
    unlist(own)
    for name in ("002", "003", "004", "005"):
        (own / f"masks/{name}.png").unlink()
    message = fails("supervised", "--data", str(own))
    assert "002.png, 003.png, 004.png and 1 more in images/ without a mask" in message
    assert "splits/train.txt" in message


def test_masks_of_other_names(own: Path, fails: Fails) -> None:
    for path in (unlist(own) / "masks").iterdir():
        path.rename(path.with_name(f"mask-{path.name}"))
    message = fails("supervised", "--data", str(own))
    assert "in images/ without a mask and mask-000.png" in message


@pytest.mark.parametrize("split", ["train", "val"])
def test_splits_naming_missing_files(own: Path, fails: Fails, split: str) -> None:
    with (own / f"splits/{split}.txt").open("a") as file:
        file.write("\nnowhere")
    assert "the split list names 'nowhere' but images/" in fails("supervised", "--data", str(own))


def test_a_mask_of_another_size(own: Path, fails: Fails) -> None:
    Image.fromarray(np.zeros((72, 71), np.uint8)).save(own / "masks/004.png")
    assert "004.png: the mask is 72x71 but its frame is 72x72" in fails("supervised", "--data", str(own))


@pytest.mark.parametrize("name", ["004", "011"])
def test_a_frame_with_pixels_that_are_no_numbers(own: Path, fails: Fails, name: str) -> None:
    values = np.asarray(Image.open(own / f"images/{name}.png")).astype(np.float32)
    values[3, 5] = np.nan
    (own / f"images/{name}.png").unlink()
    Image.fromarray(values).save(own / f"images/{name}.tif")
    message = fails("supervised", "--data", str(own))
    assert f"own/{name}: frame has 1 NaN or infinite values" in message


def test_no_targets_at_all(own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Masks of 0 and 1 hold none; it trains, since pure backgrounds are a fair set, and says what it saw."""
    for path in (unlist(own) / "masks").iterdir():
        mask = np.asarray(Image.open(path))
        Image.fromarray((mask > 127).astype(np.uint8)).save(path)
    settings = tmp_path / "train.json"
    settings.write_text('{"crops": [[1.0, 64]]}')
    words = ["--out", str(tmp_path / "run"), "--config", str(settings), "--data", str(own)]
    assert cli.main(["supervised", *words, *SMALL, *CPU]) == 0
    printed = capsys.readouterr().err
    assert "12 training frames, 0 with targets; validation: own (1 frames)" in printed
    assert "masks of 0 and 1 must become 0 and 255" in printed
    assert "own has no list of val frames: about 1 of 6 train frames was drawn" in printed
    assert (tmp_path / "run/best.safetensors").exists()


def test_sets_whose_masks_or_frames_are_not_what_they_may_seem_are_named(
    own: Path, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (own / "masks").iterdir():
        Image.fromarray((np.asarray(Image.open(path)) > 127).astype(np.uint8)).save(path)
    inverted = Path(shutil.copytree(tiny, tmp_path / "inverted"))
    for path in (inverted / "masks").iterdir():
        Image.fromarray(~np.asarray(Image.open(path))).save(path)
    for path in (inverted / "images").iterdir():
        gray = np.asarray(Image.open(path)) // 64
        Image.fromarray(np.stack((gray, gray // 2, gray), axis=-1).astype(np.uint8)).save(path)
    settings = tmp_path / "train.json"
    settings.write_text('{"crops": [[1.0, 64]]}')
    words = [word for root in (tiny, own, inverted) for word in ("--data", str(root))]
    words += ["--out", str(tmp_path / "run"), "--config", str(settings), *SMALL, *CPU]
    assert cli.main(["supervised", *words]) == 0
    printed = capsys.readouterr().err
    assert "own: none of its masks holds a target" in printed
    assert re.search(r"inverted: its masks call \d\d+% of a frame target", printed)
    assert printed.count("of its masks") == 1
    assert (
        "inverted: pictures with unequal colour planes, 000.png for one; training takes their luma" in printed
    )
    assert printed.count("colour planes") == 1


def test_a_run_does_not_go_on_with_other_frames(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A frame that was trained with would judge, or one that judged be trained with."""
    settings = tmp_path / "train.json"
    settings.write_text('{"crops": [[1.0, 64]]}')
    words = ["supervised", "--data", str(own), "--out", str(tmp_path / "run"), "--config", str(settings)]
    assert cli.main([*words, *SMALL, *CPU]) == 0
    (tmp_path / "run/run.json").unlink()
    lists = own / "splits"
    frames = (lists / "train.txt").read_text().split()
    (lists / "train.txt").write_text("\n".join(frames[1:]))
    capsys.readouterr()
    assert cli.main([*words, *SMALL, *CPU, "--resume"]) == 1
    assert "the run was started with data" in capsys.readouterr().err


def test_a_bottleneck_with_an_odd_number_of_channels(
    tiny: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(name: str) -> Any:
        return create_model(name, widths=(8, 8, 8, 9))

    monkeypatch.setattr(run_module, "create_model", odd)
    message = fails("fdep", "--vfm", "tiny-random", "--data", str(tiny))
    assert "even" in message
    assert "9" in message


@pytest.mark.parametrize("levels", ["2,99", "0,2", "4,2"])
def test_levels_that_there_are_not(tiny: Path, fails: Fails, levels: str) -> None:
    message = fails("fdep", "--vfm", "tiny-random", "--levels", levels, "--data", str(tiny))
    assert "levels" in message
    assert levels.split(",")[0] in message


def test_a_foundation_model_of_another_architecture(tiny: Path, tmp_path: Path, fails: Fails) -> None:
    path = tmp_path / "resnet.safetensors"
    save_file({"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.weight": torch.zeros(1000, 512)}, path)
    words = ["--vfm-weights", str(path), "--data", str(tiny)]
    assert "resnet.safetensors" in fails("fdep", *words)
    assert "resnet.safetensors" in fails("fdep", *words, "--vfm", "vit_tiny_patch16_224")
    path.write_bytes(b"not a file of tensors")
    assert "resnet.safetensors" in fails("fdep", *words)


def test_hardware_that_there_is_not(tiny: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    data = ["--data", str(tiny)]
    assert "--accelerator quantum" in fails("supervised", *data, "--accelerator", "quantum")
    assert "--devices 0" in fails("supervised", *data, "--devices", "0")
    for precision in ("7", "bf16-true"):
        message = fails("supervised", *data, "--precision", precision)
        assert f"--precision {precision} is none of 32-true, bf16-mixed, 16-mixed" in message
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no-such-compiler is not found; install g++" in fails("supervised", *data, "--compile")
    compiled = fails("fdep", "--vfm", "tiny-random", *data, "--compile")
    assert "fdep does not run with --compile, which is for supervised and prior" in compiled
    assert "leave --sync-batchnorm out" in fails("supervised", *data, "--sync-batchnorm")


def test_batches_that_do_not_divide(tiny: Path, fails: Fails) -> None:
    message = fails("supervised", "--data", str(tiny), "--accumulate", "3")
    assert "batch 4 does not divide into 3 parts (1 processes, --accumulate 3)" in message


def test_files_that_are_damaged(finished: Path, tiny: Path, tmp_path: Path, fails: Fails) -> None:
    data = ["--data", str(tiny)]
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((finished / "last.safetensors").read_bytes()[:1000])
    assert "broken.safetensors is damaged" in fails("supervised", *data, "--init", str(broken))
    (tmp_path / "run").mkdir()
    (tmp_path / "run/checkpoint.safetensors").write_bytes(broken.read_bytes())
    assert "checkpoint.safetensors is no checkpoint of a run, or is damaged" in fails(
        "supervised", *data, "--resume"
    )
    assert "checkpoint.safetensors is no checkpoint" in fails("supervised", *data, "--resume", "auto")
    assert (tmp_path / "run/checkpoint.safetensors").read_bytes() == broken.read_bytes()


def test_a_full_disk(tiny: Path, tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second checkpoint does not fit; the run ends with the first one and says so."""
    from pitviper.train import state

    real, saved = state.write_whole, []

    def full(path: Path, content: bytes) -> None:
        saved.append(path.name)
        if saved.count("checkpoint.safetensors") == 2:
            raise OSError(28, "No space left on device")
        real(path, content)

    monkeypatch.setattr(state, "write_whole", full)
    message = fails("supervised", "--data", str(tiny), "--epochs", "2")
    assert "No space left on device; the one before is kept. Make room, then go on with --resume" in message
    assert state.read_numbers(tmp_path / "run/checkpoint.safetensors")["epoch"] == 1
