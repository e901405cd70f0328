# SPDX-License-Identifier: Apache-2.0
"""Processes on the CPU train one network, with the numbers of one process, and outlive the loss of one of them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file
from torch import Tensor

from pitviper.train import loop

HERE = Path(__file__).parent
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}

BOUND = 1e-5
"""Largest difference of a weight after four steps, where only the order of float32 sums differs.

AdamW divides by the gradient's own size, so that rounding where a gradient nearly cancels is felt as a share of a step;
1 % of one step of 1e-3 is allowed. Another batch, or other statistics, moves weights by 1e-3.
"""


def load_cases() -> ModuleType:
    spec = importlib.util.spec_from_file_location("parallel_cases", HERE / "parallel_cases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


cases = load_cases()


@pytest.fixture(scope="module")
def in_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the end of every case in two processes."""
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, str(HERE / "parallel_cases.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=560, env=ONE_THREAD)
    assert done.returncode == 0, done.stderr
    return folder


def in_one(name: str, folder: Path, accumulate: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    monkeypatch.setattr(loop, "_synchronised", cases.convert)
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # like each of the two processes: threads add up in another order too
    try:
        found: dict[str, Tensor] = cases.train(fabric, cases.CASES[name], folder, accumulate)
    finally:
        torch.set_num_threads(threads)
    return found


def largest_difference(first: dict[str, Tensor], second: dict[str, Tensor], *, statistics: bool) -> float:
    """Over weights; with ``statistics`` over the running statistics of batch norms too."""
    assert first.keys() == second.keys()
    names = [key for key in first if first[key].is_floating_point() and (statistics or "running" not in key)]
    return max(float((first[key] - second[key]).abs().max()) for key in names)


@pytest.mark.parametrize(
    ("name", "accumulate", "statistics"),
    [
        # Nothing depends on how the crops of a step are divided: one part in one process is two in two.
        ("frozen", 1, True),
        ("fdep-frozen", 1, True),
        ("frozen", 2, True),
        # Each part draws the dropout of its place in the step, whichever process takes it.
        ("dropout", 2, True),
        # Statistics over all processes, as on GPUs with --sync-batchnorm.
        ("global", 1, True),
        # Batch norms and hard-example mining see a part: two parts in one process are two processes of one part. The
        # running statistics are those of the first process there and of both parts here.
        ("own", 2, False),
        ("fdep-own", 2, False),
        # Labels that both processes update; weights of clusters are relative within a part.
        ("pal-frozen", 1, True),
        ("sp-frozen", 2, True),
    ],
)
def test_the_same_batch_gives_the_same_weights(
    in_two: Path,
    name: str,
    accumulate: int,
    statistics: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = in_one(name, tmp_path, accumulate, monkeypatch)
    two = load_file(in_two / f"{name}-0.safetensors")
    assert largest_difference(one, two, statistics=statistics) < BOUND


def test_where_the_same_batch_gives_other_weights(
    in_two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batch norms with statistics of a part, and a limit of the hardest pixels of a part, tell parts apart."""
    one = in_one("own", tmp_path, 1, monkeypatch)
    two = load_file(in_two / "own-0.safetensors")
    assert largest_difference(one, two, statistics=False) > 10 * BOUND


@pytest.mark.parametrize("name", cases.CASES)
def test_processes_hold_the_same_weights(in_two: Path, name: str) -> None:
    first, second = (load_file(in_two / f"{name}-{rank}.safetensors") for rank in (0, 1))
    weights = [key for key in first if "running" not in key]
    assert [key for key in weights if not torch.equal(first[key], second[key])] == []


@pytest.mark.parametrize("name", ["pal-frozen", "sp-own"])
def test_labels_were_updated_in_both(in_two: Path, name: str) -> None:
    for rank in (0, 1):
        state = load_file(in_two / f"{name}-{rank}.safetensors")
        labels = [value for key, value in state.items() if key.startswith("course/pools.label.")]
        assert len(labels) >= 8
        changed = [bool(((label > 0) & (label < 1)).any()) for label in labels]
        assert sum(changed) > 4, "what the network does not see decays"
    if name == "sp-own":
        assert bool(state["course/clusters.alpha"].any()), "the second process has what the first one learned"


def test_synchronised_batch_norms_need_a_gpu(tmp_path: Path) -> None:
    fabric = Fabric(accelerator="cpu", devices=1)
    with pytest.raises(ValueError, match="need GPUs: torch has none for the CPU; leave --sync-batchnorm out"):
        cases.train(fabric, cases.CASES["global"], tmp_path)


def settings(folder: Path) -> Path:
    path = folder / "train.json"
    path.write_text(json.dumps({"crops": [[1.0, 64]], "epochs": 2, "batch": 4, "validate_every": 1}))
    return path


@pytest.mark.slow
def test_a_lost_worker_is_replaced(tmp_path: Path, tiny: Path) -> None:
    """torchrun starts all workers again; they go on from the checkpoint to the end of a run that lost none."""
    words = ["fdep", "--vfm", "tiny-random", "--model", "pit-n", "--data", str(tiny)]
    words += ["--config", str(settings(tmp_path)), "--accelerator", "cpu", "--precision", "32-true"]
    words += ["--threads", "1", "--resume", "auto", "--out"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    # One store for all attempts, torchrun's default, hands the new workers the addresses of the old ones.
    environment = ONE_THREAD | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    # Two crops of each step are this worker's, two steps an epoch: the sixth is in the first step of the second.
    for name, kill_at, restarts in (("whole", 0, 0), ("lost", 6, 1)):
        command = [
            *launcher,
            "--max-restarts",
            str(restarts),
            str(HERE / "killed_run.py"),
            *words,
            str(tmp_path / name),
        ]
        command += ["--no-package"] if name == "lost" else []
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=560, env=environment | {"KILL_AT": str(kill_at)}
        )
        assert done.returncode == 0, done.stderr
        assert ("exitcode: -9" in done.stderr) == (name == "lost")
        assert done.stderr.count("epoch 2/2") == 1, "one process speaks"
        assert (tmp_path / name / "package").exists() == (name == "whole"), "one process packages"
        assert len(list((tmp_path / name / "tensorboard").iterdir())) == 1 + restarts, "one process writes"
    for file in ("last.safetensors", "best.safetensors", "checkpoint.safetensors"):
        whole, lost = (load_file(tmp_path / name / file) for name in ("whole", "lost"))
        assert [key for key in whole if not torch.equal(whole[key], lost[key])] == []
    summaries = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("whole", "lost")]
    assert summaries[0] == summaries[1]
    assert [record["epoch"] for record in summaries[0]["history"]] == [1, 2]


@pytest.mark.parametrize(
    ("recipe", "updates"),
    [
        (["supervised"], 0),
        (["semantic_priors", "--vfm", "tiny-random", "--clusters", "2", "--start", "0"], 1),
    ],
)
def test_processes_started_by_fabric(recipe: list[str], updates: int, tmp_path: Path, tiny: Path) -> None:
    """``--devices 2`` without a launcher."""
    command = [sys.executable, "-m", "pitviper.train.cli", *recipe, "--out", str(tmp_path / "run")]
    command += ["--config", str(settings(tmp_path)), "--model", "pit-n", "--data", str(tiny), "--epochs", "2"]
    command += ["--accelerator", "cpu", "--devices", "2", "--precision", "32-true", "--threads", "1"]
    done = subprocess.run(
        [*command, "--no-package"],
        capture_output=True,
        text=True,
        timeout=560,
        env=ONE_THREAD,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'run'}\n", "one process answers"
    assert done.stderr.count("epoch 2/2") == 1, "one process speaks"
    for words in ("labels updated", "clusters, ", "frames with labels are few"):
        assert done.stderr.count(words) == updates, words
    assert (tmp_path / "run/last.safetensors").exists()
