# SPDX-License-Identifier: Apache-2.0
"""What pays in training from masks: the same short training with settings changed, judged on the validation splits.

    python benchmarks/frontier.py --work runs/frontier --data NUAA-SIRST --data NUDT-SIRST --models pit-s \
        --conditions supervised supervised+plain_share=0

Conditions are ``supervised`` and ``supervised+SETTING=VALUE``, with any number or word among the
settings of ``pitviper-train supervised``, and ``augmentation.NAME=VALUE`` for those of its augmentation.
Judged are the averaged weights after the last epoch: no epoch is chosen. It ranks changes; the values are those of a
short training and far below a long one's. A finished run in --work is kept, and a killed one goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from comparison import (
    BASE,
    Runs,
    common_settings,
    comparison_parser,
    hardware_of,
    require_conditions,
    run_cells,
    splits_of,
    told_of,
)
from fdep_table import tables
from over_seeds import summarise
from record import write_result
from trainings import METRICS, Cell, changed_settings, facts, finished, judge

from pitviper.core.datasets import Dataset
from pitviper.train.config import SupervisedConfig
from pitviper.train.run import load_run, train_supervised


def main(arguments: list[str] | None = None) -> int:
    options = read_options(arguments)
    train_sets, val_sets = splits_of(options)
    sets = (*train_sets, *val_sets)
    runs = run_cells(
        options, lambda cell: one_run(cell, options, val_sets), lambda runs: publish(options, runs, sets)
    )
    print(tables(publish(options, runs, sets)))
    return 0


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = comparison_parser(
        __doc__.splitlines()[0], conditions=(f"{BASE}+plain_share=0.0", f"{BASE}+keep=0.5"), epochs=20
    )
    options = parser.parse_args(arguments)
    require_conditions(options, settings_of)
    return options


def settings_of(cell: Cell, options: argparse.Namespace) -> SupervisedConfig:
    """Settings of a run; what is not the condition's is the same for every condition.

    Raises:
        SystemExit: Unknown condition or setting.
    """
    common = common_settings(cell, options, validate_every=1)
    base, *changes = cell.condition.split("+")
    if base != BASE:
        raise SystemExit(f"unknown condition {cell.condition!r}; known are {BASE} and {BASE}+SETTING=VALUE")
    return SupervisedConfig(**common | changed_settings(changes, SupervisedConfig, fixed=("model", "seed")))


def one_run(cell: Cell, options: argparse.Namespace, val_sets: list[Dataset]) -> Runs:
    """Train and judge a cell, as far as its folder does not hold that already."""
    folder, config = options.work / cell.folder, settings_of(cell, options)
    summary, judged = finished(
        folder,
        config,
        train=lambda resume: _train(config, folder, options, resume=resume),
        judge_branches=lambda: {"light": judge(load_run(folder, "last")[0], val_sets)},
    )
    return [{**told_of(cell, summary, ()), "branch": "light", "sets": judged["light"]}]


def _train(config: SupervisedConfig, folder: Path, options: argparse.Namespace, *, resume: bool) -> None:
    train_supervised(config, folder, hardware=hardware_of(options), resume=resume)


def publish(options: argparse.Namespace, runs: Runs, sets: Iterable[Dataset]) -> dict[str, Any]:
    """Write what there is so far."""
    result = {
        **facts(settings_of(Cell(options.models[0], BASE, 0), options), sets),
        "runs": runs,
        "summary": summarise(runs, base=BASE, metrics=METRICS[2:]),
    }
    print(write_result("frontier", result, folder=options.results), flush=True)
    return result


if __name__ == "__main__":
    raise SystemExit(main())
