# SPDX-License-Identifier: Apache-2.0
"""Does the main branch of FDEP use what its foundation model sees? It is judged again with other features.

    python benchmarks/fdep_use.py --work runs/fdep --data NUAA-SIRST --data NUDT-SIRST

For every finished FDEP run of ``fdep.py`` the trained main branch meets the val frames with the features ``as they
are``, ``turned`` by 180 degrees (the same numbers in the wrong places), of a ``blank`` frame, and ``zero``; nothing is
trained. With ``no samf`` its bottleneck passes the SAMF chain by. A branch that uses places and contents loses by
``turned``; one that loses only by ``no samf`` uses the chain as a few more layers. ``change`` is the norm of what the
chain adds to the bottleneck over that of the bottleneck, mean over frames.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from paired import difference, estimate
from record import RESULTS, write_result
from torch import Tensor

from pitviper.train.config import FDEPConfig, stored_config
from pitviper.train.data.splits import open_splits
from pitviper.train.data.store import StoredFrame, load_frames
from pitviper.train.recipes.fdep import MainBranch
from pitviper.train.run import load_main_branch, load_run
from pitviper.train.validate import validate

AS_THEY_ARE = "as they are"
Maps = list[Tensor]
FEATURES: dict[str, Callable[[Maps], Maps]] = {
    AS_THEY_ARE: lambda maps: maps,
    "turned": lambda maps: [m.flip(2, 3) for m in maps],
    "zero": lambda maps: [torch.zeros_like(m) for m in maps],
}
CONDITIONS = (*FEATURES, "blank", "no samf")


@dataclass
class Intervention:
    """Hooks on a main branch that change what it gets, and a record of what its SAMF chain does."""

    branch: MainBranch
    name: str
    changes: list[float] = field(default_factory=list)

    def __enter__(self) -> Intervention:
        vfm, samf = self.branch.task.vfm, self.branch.task.samf
        self._hooks = [samf.register_forward_hook(self._after_samf)]
        if self.name in FEATURES:
            self._hooks.append(vfm.register_forward_hook(lambda _, __, maps: FEATURES[self.name](maps)))
        if self.name == "blank":
            self._hooks.append(
                vfm.register_forward_pre_hook(lambda _, frames: (torch.zeros_like(frames[0]),))
            )
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _after_samf(self, _: object, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        before = inputs[0]
        self.changes.append(float((output - before).norm() / before.norm().clamp(min=1e-12)))
        return before if self.name == "no samf" else output


def use_of(folder: Path, val_sets: Mapping[str, Sequence[StoredFrame]]) -> dict[str, Any]:
    """IoU of one run's main branch by condition and set, and the chain's relative change of the bottleneck."""
    branch = load_main_branch(folder)[0]
    assert isinstance(branch, MainBranch)
    iou: dict[str, dict[str, float]] = {}
    change = 0.0
    for name in CONDITIONS:
        with Intervention(branch, name) as intervention:
            iou[name] = {data: found["iou"] for data, found in validate(branch, val_sets).items()}
        if name == AS_THEY_ARE:
            change = sum(intervention.changes) / len(intervention.changes)
    return {"iou": iou, "change": change}


def summarise(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Paired difference to the features as they are, over seeds: one row a condition of training, set and condition."""
    rows = []
    for trained in dict.fromkeys(run["condition"] for run in runs):
        ours = [run for run in runs if run["condition"] == trained]
        for data in ours[0]["iou"][AS_THEY_ARE]:
            base = {run["seed"]: run["iou"][AS_THEY_ARE][data] for run in ours}
            for name in CONDITIONS:
                found = {run["seed"]: run["iou"][name][data] for run in ours}
                rows.append(
                    {
                        "condition": trained,
                        "set": data,
                        "features": name,
                        "iou": estimate(list(found.values())),
                        "difference": difference(found, base),
                    }
                )
    return rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs of fdep.py")
    parser.add_argument("--data", action="append", required=True, help="data set folder; repeatable")
    parser.add_argument("--runs", nargs="+", help="names of run folders (all FDEP runs in --work)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the result file goes")
    parser.add_argument("--name", default="fdep_use", help="of the result file (default %(default)s)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    val_sets = {d.name: load_frames([d]) for d in open_splits(tuple(options.data))[1]}
    folders = [options.work / name for name in options.runs] if options.runs else finished_runs(options.work)
    if not folders:
        raise SystemExit(f"{options.work} holds no finished run of fdep; run benchmarks/fdep.py first")
    runs = []
    for folder in folders:
        name, _, seed = folder.name.rpartition("-")
        runs.append({"condition": name, "seed": int(seed), **use_of(folder, val_sets)})
        print(folder.name, runs[-1], file=sys.stderr, flush=True)
    print(write_result(options.name, {"runs": runs, "summary": summarise(runs)}, folder=options.results))
    return 0


def finished_runs(work: Path) -> list[Path]:
    """Run folders of FDEP that hold a summary, by name."""
    folders = sorted(path.parent for path in work.glob("*/run.json"))
    return [f for f in folders if isinstance(stored_config(load_run(f, "last")[1]), FDEPConfig)]


if __name__ == "__main__":
    raise SystemExit(main())
