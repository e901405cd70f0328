# SPDX-License-Identifier: Apache-2.0
"""A training that is killed at a random crop and resumed ends as one that was not: CPU, float32, bit by bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pitviper.train import cli
from pitviper.train.state import read_numbers

PROGRAM = Path(__file__).with_name("killed_run.py")

# Two steps of four crops an epoch. The first checkpoint is there after 8 crops, or inside the epoch after 4.
RUNS = {
    "supervised": (["supervised", "--epochs", "3"], 8, 24),
    "fdep": (
        ["fdep", "--vfm", "tiny-random", "--epochs", "2", "--accumulate", "2", "--checkpoint-every", "1"],
        4,
        16,
    ),
}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
@pytest.mark.parametrize("name", RUNS)
def test_killed_and_resumed(name: str, tiny: Path, tmp_path: Path) -> None:
    recipe, first, last = RUNS[name]
    kill_at = int(np.random.default_rng([2026, len(name)]).integers(first + 1, last + 1))
    print(f"killed before crop {kill_at} of {last}")
    settings = tmp_path / "train.json"
    common = {"model": "pit-n", "crops": [[1.0, 64]], "batch": 4, "validate_every": 1, "ema": 0.9}
    settings.write_text(json.dumps(common))
    words = [*recipe, "--config", str(settings), "--data", str(tiny), "--no-package", "--resume", "auto"]
    words += ["--accelerator", "cpu", "--devices", "1", "--precision", "32-true"]
    words += ["--threads", str(torch.get_num_threads())]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    dying = subprocess.run(
        [sys.executable, str(PROGRAM), *words, "--out", str(killed)],
        capture_output=True,
        text=True,
        timeout=560,
        env=os.environ | {"KILL_AT": str(kill_at)},
    )
    assert dying.returncode == -signal.SIGKILL, dying.stderr
    assert not (killed / "last.safetensors").exists()
    numbers = read_numbers(killed / "checkpoint.safetensors")
    done = 8 * numbers["epoch"] + 4 * numbers.get("step", 0)
    assert 0 < done < kill_at, "it died after its last checkpoint, and loses what came since"
    torch.manual_seed(99)  # the state of the process that goes on does not matter
    assert cli.main([*words, "--out", str(killed)]) == 0
    assert cli.main([*words, "--out", str(whole)]) == 0
    for file in ("last.safetensors", "best.safetensors", "checkpoint.safetensors"):
        a, b = load_file(whole / file), load_file(killed / file)
        assert a.keys() == b.keys()
        assert [key for key in a if not torch.equal(a[key], b[key])] == []
    assert json.loads((whole / "run.json").read_text()) == json.loads((killed / "run.json").read_text())
