# SPDX-License-Identifier: Apache-2.0
"""Two processes on the CPU train one network and leave one run folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

# Runs the command line and lets every process keep the parameters that it ended with.
PROGRAM = """
import sys
from pathlib import Path
from safetensors.torch import save_file
from pitviper.train import cli, loop

fit = loop.fit

def fit_and_keep(run, *arguments, **named):
    fit(run, *arguments, **named)
    inner = loop.unwrapped(run.task)
    tensors = {f"task/{k}": v.detach().contiguous() for k, v in inner.named_parameters()}
    tensors |= {f"average/{k}": v.detach().contiguous() for k, v in run.network.named_parameters()}
    save_file(tensors, Path(sys.argv[1]) / f"rank{run.fabric.global_rank}.safetensors")

loop.fit = fit_and_keep
if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.parametrize("recipe", [["supervised"], ["fdep", "--vfm", "tiny-random"]], ids=lambda r: r[0])
def test_two_processes(tmp_path: Path, tiny: Path, recipe: list[str]) -> None:
    program, folder = tmp_path / "program.py", tmp_path / "run"
    program.write_text(PROGRAM)
    settings = tmp_path / "train.json"
    settings.write_text(json.dumps({"crops": [[1.0, 64]], "epochs": 2, "batch": 4, "validate_every": 1}))
    command = [sys.executable, str(program), str(tmp_path), *recipe, "--out", str(folder)]
    command += ["--config", str(settings), "--model", "pit-n", "--data", str(tiny)]
    command += ["--accelerator", "cpu", "--devices", "2", "--precision", "32-true", "--threads", "1"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    first, second = (load_file(tmp_path / f"rank{rank}.safetensors") for rank in (0, 1))
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []
    last = load_file(folder / "last.safetensors")
    assert all(torch.equal(last[k.removeprefix("average/")], v) for k, v in first.items() if k[:4] == "aver")
    summary = json.loads((folder / "run.json").read_text())
    assert [record["epoch"] for record in summary["history"]] == [1, 2]
    assert done.stderr.count("epoch 2/2") == 1, "one process speaks"
    assert len(list((folder / "tensorboard").iterdir())) == 1, "one process writes"
