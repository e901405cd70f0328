# SPDX-License-Identifier: Apache-2.0
"""What turned and mirrored crops cost where masks lie to one side of their targets (decision 18).

    python benchmarks/upright.py --data NUDT-SIRST

Each seed holds out a sixth of the train split, drawn at random, and trains on the rest twice: with crops that are
turned and mirrored, and upright. Judged are the averaged weights after the last epoch, on the held-out frames whose
masks lie up and left of their targets by more than a quarter of a pixel in both directions (``beside``) and on the
others (``rest``). No epoch is chosen.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from markdown_table import markdown_table
from over_seeds import interval, plus_minus
from paired import LEVEL, difference, estimate
from record import write_result
from short_training import train_on

from pitviper.core.datasets import open_dataset
from pitviper.core.models import create_model
from pitviper.train.config import SupervisedConfig
from pitviper.train.data.registration import target_offsets
from pitviper.train.data.store import StoredFrame, load_frames

BESIDE_PX = 0.25
HELD_OUT = 1 / 6
CONDITIONS = ("turned", "upright")
GROUPS = ("beside", "rest")
METRICS = {"iou": "IoU", "niou": "nIoU"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, help="data set folder")
    parser.add_argument("--model", default="pit-n")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dataset = open_dataset(options.data, "train")
    frames = load_frames([dataset])
    beside = {frame.name for frame in frames if lies_beside(frame)}
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        train, held_out = draw(frames, seed)
        judges = {
            "beside": [frame for frame in held_out if frame.name in beside],
            "rest": [frame for frame in held_out if frame.name not in beside],
        }
        for condition in CONDITIONS:
            upright = (dataset.name,) if condition == "upright" else ()
            config = _settings(options, upright, seed)
            torch.manual_seed(seed)
            metrics, loss = train_on(create_model(config.model), config, train, judges)
            rows.append({"condition": condition, "seed": seed, "loss": loss, "sets": metrics})
            print(condition, seed, {k: round(100 * m["iou"], 1) for k, m in metrics.items()}, flush=True)
    result = {
        "data": {"name": dataset.name, "split": "train", "split_sha256": dataset.split_sha256},
        "settings": _settings(options, (), 0).to_dict(),
        "frames": {"all": len(frames), "beside": len(beside)},
        "rows": rows,
        "summary": summarise(rows),
    }
    print(write_result("upright", result))
    print(table(result))


def lies_beside(frame: StoredFrame) -> bool:
    """Whether the masks of a frame lie up and left of their targets, in the mean of those that can be measured."""
    offsets = target_offsets(frame)
    return bool(len(offsets)) and bool((offsets.mean(axis=0) < -BESIDE_PX).all())


def draw(frames: list[StoredFrame], seed: int) -> tuple[list[StoredFrame], list[StoredFrame]]:
    """Frames to train with, and those that are held out."""
    order = np.random.default_rng(seed).permutation(len(frames))
    kept = round(len(frames) * HELD_OUT)
    return [frames[i] for i in sorted(order[kept:])], [frames[i] for i in sorted(order[:kept])]


def _settings(options: argparse.Namespace, upright: tuple[str, ...], seed: int) -> SupervisedConfig:
    return SupervisedConfig(
        model=options.model,
        epochs=options.epochs,
        crops=((1.0, 128),),
        batch=8,
        optimizer="muon",
        lr=4e-3,
        ema=0.99,
        validate_every=options.epochs,
        upright=upright,
        seed=seed,
    )


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By group of frames and metric: both conditions over seeds, and upright minus turned, seed by seed."""
    summary: dict[str, Any] = {}
    for group in GROUPS:
        for metric in METRICS:
            by = {
                c: {row["seed"]: row["sets"][group][metric] for row in rows if row["condition"] == c}
                for c in CONDITIONS
            }
            means = {condition: estimate(list(values.values())) for condition, values in by.items()}
            gain = difference(by["upright"], by["turned"])
            summary.setdefault(group, {})[metric] = {**means, "difference": gain}
    return summary


def table(result: dict[str, Any]) -> str:
    """Both conditions and what upright crops gain."""
    shown = [
        [
            group,
            name,
            *(plus_minus(result["summary"][group][metric][condition], metric) for condition in CONDITIONS),
            interval(result["summary"][group][metric]["difference"], metric),
        ]
        for group in GROUPS
        for metric, name in METRICS.items()
    ]
    frames = result["frames"]
    return (
        f"{frames['beside']} of {frames['all']} frames have masks beside their targets; mean and half of the "
        f"{LEVEL:.0%} t interval over seeds, and the difference seed by seed:\n\n"
        + markdown_table(["held-out frames", "", *CONDITIONS, "difference"], shown)
    )


if __name__ == "__main__":
    main()
