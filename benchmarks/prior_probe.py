# SPDX-License-Identifier: Apache-2.0
"""What frozen features tell of targets: a linear probe of a prior's levels, beside random weights of its architecture.

    pitviper-train prior --data SET --data SET --data BACKGROUNDS --synthetic 400 --out runs/prior
    python benchmarks/prior_probe.py runs/prior/prior.safetensors --data SET --data SET

Writes ``results/prior_probe.json``. The probe is fitted on the train splits and judged on the val splits.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from record import write_result

from pitviper.core.datasets import open_dataset
from pitviper.core.manifest import file_record
from pitviper.core.vfm import load_vfm
from pitviper.train.data.store import load_frames
from pitviper.train.probe import probe_levels
from pitviper.train.run import describe_set


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, nargs="+", help="what pitviper-train prior left")
    parser.add_argument(
        "--data", action="append", required=True, metavar="FOLDER", help="data set; repeatable"
    )
    parser.add_argument("--seeds", type=int, default=3, help="random models of the first file's architecture")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sets = {split: [open_dataset(root, split) for root in options.data] for split in ("train", "val")}
    frames = {split: load_frames(each) for split, each in sets.items()}
    rows: list[dict[str, Any]] = []
    chosen: list[tuple[Path, int | None]] = [(options.weights[0], seed) for seed in range(options.seeds)]
    for path, seed in [*chosen, *((path, None) for path in options.weights)]:
        scores = probe_levels(load_vfm(weights=path, seed=seed), frames["train"], frames["val"])
        row: dict[str, Any] = {"weights": "random", "seed": seed} if seed is not None else _about(path)
        rows.append({**row, "levels": {name: score.to_dict() for name, score in scores.items()}})
        shown = "  ".join(f"{k}: {s.auc:.4f} / {s.average_precision:.3f}" for k, s in scores.items())
        print(
            f"{row['weights']} {seed if seed is not None else ''}  AUC / AP  {shown}",
            file=sys.stderr,
            flush=True,
        )
    described = {split: [describe_set(each) for each in of] for split, of in sets.items()}
    print(write_result("prior_probe", {"data": described, "models": rows}))


def _about(path: Path) -> dict[str, Any]:
    """Hash of the file, and the settings and held-out losses of the run that left it, without its folders."""
    summary = json.loads((path.parent / "prior.json").read_text())
    config = {**summary["config"], "data": [d["name"] for d in summary["data"]]}
    last = summary["history"][-1].get("validation", {})
    return {"weights": path.name, **file_record(path.read_bytes()), "config": config, "held_out": last}


if __name__ == "__main__":
    main()
