# SPDX-License-Identifier: Apache-2.0
"""The command line that comparisons of trainings share: models, conditions and seeds, each a run of the same length."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from record import RESULTS
from trainings import Cell

from pitviper.core.datasets import Dataset
from pitviper.train.config import TrainingConfig
from pitviper.train.data.splits import open_splits
from pitviper.train.hardware import Hardware

BASE = "supervised"
"""The condition that all others are compared with."""

Runs = list[dict[str, Any]]


def comparison_parser(description: str, *, conditions: Sequence[str], epochs: int) -> argparse.ArgumentParser:
    """Options of every comparison; a benchmark adds its own."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs; finished ones are kept")
    parser.add_argument("--data", action="append", required=True, help="data set folder; repeatable")
    parser.add_argument("--models", nargs="+", default=["pit-n"])
    parser.add_argument("--conditions", nargs="+", default=[BASE, *conditions])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--crop", type=int, default=128, help="side of the crops in pixels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=4e-3)
    parser.add_argument(
        "--upright", action="append", default=[], metavar="NAME", help="data set whose crops are never turned"
    )
    parser.add_argument("--prior", type=Path, help="weights made by pitviper-train prior")
    parser.add_argument("--finished", action="store_true", help="judge what is finished, and train nothing")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the result file goes")
    return parser


def cells_of(options: argparse.Namespace) -> list[Cell]:
    """Every training that the options ask for, one seed of all conditions after the other."""
    return [
        Cell(model, condition, seed)
        for model in options.models
        for seed in options.seeds
        for condition in options.conditions
    ]


def common_settings(cell: Cell, options: argparse.Namespace, *, validate_every: int) -> dict[str, Any]:
    """Settings that are the same for every condition."""
    return {
        "model": cell.model,
        "data": tuple(options.data),
        "epochs": options.epochs,
        "crops": ((1.0, options.crop),),
        "batch": options.batch,
        "optimizer": "muon",
        "lr": options.lr,
        # A run has a few thousand steps at most: an average over the last 100 of them, not over 1,000.
        "ema": 0.99,
        "upright": tuple(options.upright),
        "validate_every": validate_every,
        "seed": cell.seed,
    }


def require_conditions(
    options: argparse.Namespace, settings_of: Callable[[Cell, argparse.Namespace], TrainingConfig]
) -> None:
    """Refuse a wrong condition before the first hour of training.

    Raises:
        SystemExit: As ``settings_of`` does.
    """
    for condition in options.conditions:
        settings_of(Cell(options.models[0], condition, 0), options)


def splits_of(options: argparse.Namespace) -> tuple[list[Dataset], list[Dataset]]:
    """Train and val splits of the data.

    Raises:
        SystemExit: There is no val split.
    """
    train_sets, val_sets = open_splits(tuple(options.data))
    if not val_sets:
        raise SystemExit("none of the --data folders has a val split to judge on")
    return train_sets, val_sets


def run_cells(
    options: argparse.Namespace,
    one_run: Callable[[Cell], Runs],
    publish: Callable[[Runs], Any],
) -> Runs:
    """Train and judge all cells; after every seed, ``publish`` gets what there is, so that comparisons are whole.

    Args:
        options: Of the command line.
        one_run: One entry of the table for each branch of a cell.
        publish: Writes the result file.
    """
    torch.set_num_threads(options.threads)
    runs: Runs = []
    cells = cells_of(options)
    for number, cell in enumerate(cells, start=1):
        is_due = not options.finished or (options.work / cell.folder / "run.json").is_file()
        for branch in one_run(cell) if is_due else ():
            shown = {
                name: f"{100 * metrics['iou']:.1f}"
                for name, metrics in branch["sets"].items()
                if metrics["targets"]
            }
            print(cell.folder, branch["branch"], "IoU", shown, file=sys.stderr, flush=True)
            runs.append(branch)
        if number % len(options.conditions) == 0:
            publish(runs)
    return runs


def hardware_of(options: argparse.Namespace) -> Hardware:
    """One process on the CPU."""
    return Hardware(accelerator="cpu", devices="1", threads=options.threads)


def told_of(cell: Cell, summary: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """The cell, and those of these facts that its summary has."""
    found = {key: summary[key] for key in keys if key in summary}
    return {"model": cell.model, "condition": cell.condition, "seed": cell.seed, **found}
