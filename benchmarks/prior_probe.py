# SPDX-License-Identifier: Apache-2.0
"""What frozen features tell of targets: a linear probe of a model's levels, beside random weights of its architecture.

    pitviper-train prior --data SET --data SET --data BACKGROUNDS --synthetic 400 --out runs/prior
    python benchmarks/prior_probe.py runs/prior/prior.safetensors dinov2.safetensors --data SET --data SET

Takes what ``pitviper-train prior`` left and files of published models. Writes ``results/prior_probe.json``. The probe
is fitted on the train splits and judged on the val splits, by the patches of each model, which differ in size.
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

_SIDE = 128
"""Of the crops, in pixels, or the largest multiple of the patch below it."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, nargs="+", help="files of weights")
    parser.add_argument(
        "--data", action="append", required=True, metavar="FOLDER", help="data set; repeatable"
    )
    parser.add_argument("--seeds", type=int, default=3, help="random models of each architecture")
    parser.add_argument("--scale", type=int, nargs="+", default=[1], help="frames enlarged so many times")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sets = {split: [open_dataset(root, split) for root in options.data] for split in ("train", "val")}
    frames = {split: load_frames(each) for split, each in sets.items()}
    rows: list[dict[str, Any]] = []
    for path in options.weights:
        for scale in options.scale:
            for seed in (*range(options.seeds), None):
                vfm = load_vfm(weights=path, seed=seed, scale=scale)
                side = _SIDE - _SIDE % vfm.patch_size
                scores = probe_levels(vfm, frames["train"], frames["val"], side=side)
                row = {**_about(path), "seed": seed, "scale": scale, "patch": vfm.patch_size, "side": side}
                rows.append({**row, "levels": {name: score.to_dict() for name, score in scores.items()}})
                shown = "  ".join(f"{k}: {s.auc:.4f} / {s.average_precision:.3f}" for k, s in scores.items())
                what = "" if seed is None else f"random {seed} "
                print(f"{path.name} x{scale} {what} AUC / AP  {shown}", file=sys.stderr, flush=True)
    described = {split: [describe_set(each) for each in of] for split, of in sets.items()}
    print(write_result("prior_probe", {"data": described, "models": rows}))


def _about(path: Path) -> dict[str, Any]:
    """Hash of the file; of a prior also settings and held-out losses of the run that left it, without its folders."""
    told = {"weights": path.name, **file_record(path.read_bytes())}
    if not (path.parent / "prior.json").is_file():
        return told
    summary = json.loads((path.parent / "prior.json").read_text())
    config = {**summary["config"], "data": [d["name"] for d in summary["data"]]}
    return {**told, "config": config, "held_out": summary["history"][-1].get("validation", {})}


if __name__ == "__main__":
    main()
