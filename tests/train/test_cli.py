# SPDX-License-Identifier: Apache-2.0
"""The command line: help, overrides, exit codes and messages that name the option to change."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pitviper.train import cli
from pitviper.train.config import SupervisedConfig

Make = Callable[..., SupervisedConfig]


def parse(*arguments: str) -> argparse.Namespace:
    return cli._parser().parse_args(["supervised", "--out", "run", *arguments])


def test_help_lists_every_plain_setting() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-m", "pitviper.train.cli", "supervised", "--help"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    for option in ("--data", "--crops-per-frame", "--lr", "--seed", "--resume", "--config", "--accelerator"):
        assert option in done.stdout
    assert done.stderr == ""


def test_crops_are_a_side_or_sides_along_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.read_config(parse("--crops", "128")).crops == ((1.0, 128),)
    assert cli.read_config(parse("--crops", "0.5:128,1:256")).crops == ((0.5, 128), (1.0, 256))
    with pytest.raises(SystemExit):
        parse("--crops", "small")
    assert "crops are a side such as 128" in capsys.readouterr().err


def test_a_shortened_option_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--crops-per", "4")
    assert "unrecognized arguments: --crops-per 4" in capsys.readouterr().err


def test_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in ("supervised", "package", "report"))


@pytest.mark.parametrize("arguments", [[], ["supervised"], ["supervised", "--out", "x", "--epochs", "many"]])
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    assert "usage: pitviper-train" in capsys.readouterr().err


def test_options_override_the_config_file(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"epochs": 9, "lr": 0.5, "crops": [[1.0, 64]], "data": ["a"]}))
    found = cli.read_config(parse("--config", str(path), "--lr", "0.1", "--crops-per-frame", "2"))
    assert (found.epochs, found.lr, found.crops, found.data) == (9, 0.1, ((1.0, 64),), ("a",))
    assert found.crops_per_frame == 2
    both = cli.read_config(parse("--config", str(path), "--data", "b", "--data", "c"))
    assert both.data == ("b", "c")
    assert cli.read_config(parse()) == SupervisedConfig()


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(list(arguments)) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("pitviper-train: ")
    assert "Traceback" not in printed.err
    return printed.err


def test_messages_name_the_fix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("--out", str(tmp_path / "run"), "--accelerator", "cpu")
    assert "--data FOLDER" in failing(capsys, "supervised", *out)
    assert "no images/ folder" in failing(capsys, "supervised", *out, "--data", str(tmp_path))
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    assert "bad.json: not valid JSON" in failing(capsys, "supervised", *out, "--config", str(bad))
    bad.write_text('{"speed": 1}')
    assert "unknown setting: speed" in failing(capsys, "supervised", *out, "--config", str(bad))
    assert "unknown model 'unet'" in failing(
        capsys, "supervised", *out, "--model", "unet", "--synthetic", "4"
    )
    assert "holds no run.json" in failing(capsys, "package", str(tmp_path), str(tmp_path / "p"))
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes(b"precious")
    arguments = (
        "supervised",
        "--out",
        str(tmp_path),
        "--accelerator",
        "cpu",
        "--synthetic",
        "4",
        "--model",
        "pit-n",
    )
    assert "holds a run already; pass --resume" in failing(capsys, *arguments)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == b"precious"


def test_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from pitviper.train import run

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "train_supervised", interrupted)
    assert cli.main(["supervised", "--out", str(tmp_path)]) == 130
    assert "--resume" in capsys.readouterr().err


def test_supervised_prints_the_run_folder(
    tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"crops": [[1.0, 64]], "batch": 4, "epochs": 5}))
    arguments = ["--config", str(path), "--epochs", "1", "--model", "pit-n", "--data", str(tiny)]
    hardware = ["--accelerator", "cpu", "--devices", "1", "--no-package"]
    folder = tmp_path / "run"
    assert cli.main(["supervised", "--out", str(folder), *arguments, *hardware]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{folder}\n", "standard output is data"
    assert "epoch 1/1" in printed.err
    assert "val tiny: IoU" in printed.err
