# SPDX-License-Identifier: Apache-2.0
"""Does a foundation model in training help? The same short training without one, and with each of several.

    python benchmarks/fdep.py --work runs/fdep --data NUAA-SIRST --data NUDT-SIRST --prior PRIOR.safetensors

Runs of one seed share first weights, data, crops, augmentation and schedule and differ in the condition alone, so their
differences are paired. Judged are the averaged weights after the last epoch, on the val splits: no epoch is chosen.
Conditions: ``supervised``; ``in-domain`` (--prior); each name that --vfm gives to a published model, by a file or a
timm name whose weights are in the hub's cache; ``random``, and ``random-NAME`` of a file given to --vfm, with weights
drawn anew in the architecture of the prior, or of that file. ``NAME+SETTING=VALUE`` changes a setting of FDEP, such as
``in-domain+levels=6/12+samf_style=plain``.

A finished run in --work is kept and a killed one goes on, so the same command again, or one with more seeds, models or
conditions, adds to the table. Runs of several machines or code versions do not belong in one folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from comparison import (
    BASE,
    common_settings,
    comparison_parser,
    hardware_of,
    require_conditions,
    run_cells,
    splits_of,
    told_of,
)
from fdep_cost import training_cost
from fdep_table import tables
from over_seeds import summarise
from record import write_result
from trainings import METRICS, SHARED, Cell, Judgements, changed_settings, facts, finished, judge

from pitviper.core.datasets import Dataset
from pitviper.train.config import FDEPConfig, SupervisedConfig, TrainingConfig
from pitviper.train.run import (
    load_main_branch,
    load_run,
    train_fdep,
    train_supervised,
)


def main(arguments: list[str] | None = None) -> int:
    options = read_options(arguments)
    train_sets, val_sets = splits_of(options)
    sets = (*train_sets, *val_sets)
    runs = run_cells(
        options, lambda cell: one_run(cell, options, val_sets), lambda runs: publish(options, runs, sets)
    )
    print(tables(publish(options, runs, sets, cost=cost_of(options, train_sets))))
    return 0


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = comparison_parser(__doc__.splitlines()[0], conditions=("random", "in-domain"), epochs=12)
    parser.add_argument(
        "--vfm",
        action="append",
        default=[],
        metavar="CONDITION=FILE",
        help="a published model: a local file of weights, or a timm name; repeatable",
    )
    parser.add_argument("--name", default="fdep", help="of the result file (default %(default)s)")
    options = parser.parse_args(arguments)
    options.vfm = dict(_named(text) for text in options.vfm)
    require_conditions(options, settings_of)
    return options


def settings_of(cell: Cell, options: argparse.Namespace) -> TrainingConfig:
    """Settings of a run; what is not the condition's is the same for every condition.

    Raises:
        SystemExit: Unknown condition, or a condition whose weights were not given.
    """
    common = common_settings(cell, options, validate_every=options.epochs)
    base, *changes = cell.condition.split("+")
    if base == BASE and not changes:
        return SupervisedConfig(**common)
    changed = changed_settings(changes, FDEPConfig, fixed=SHARED)
    return FDEPConfig(**common, **prior_of(base, options), **changed)


def _named(text: str) -> tuple[str, str]:
    name, _, model = text.partition("=")
    if not name or not model:
        raise SystemExit(f"--vfm takes CONDITION=FILE, such as dinov2=vit.safetensors, got {text!r}")
    return name, model


def prior_of(base: str, options: argparse.Namespace) -> dict[str, str]:
    """The foundation model that a condition names, as settings of FDEP."""
    if base in ("random", "in-domain"):
        if options.prior is None:
            raise SystemExit(f"{base} needs --prior FILE (random takes the architecture from it)")
        own = {"vfm_weights": str(options.prior)}
        return {**own, "vfm": "random"} if base == "random" else own
    drawn = base.startswith("random-")
    model = options.vfm.get(base.removeprefix("random-"))
    if model is None:
        known = ", ".join((BASE, "random", "in-domain", *options.vfm))
        raise SystemExit(f"unknown condition {base!r}; known are {known}; --vfm NAME=FILE adds one")
    if Path(model).is_file():
        return {"vfm_weights": model, **({"vfm": "random"} if drawn else {})}
    return {"vfm": f"random:{model.partition('.')[0]}" if drawn else model}


def one_run(cell: Cell, options: argparse.Namespace, val_sets: list[Dataset]) -> list[dict[str, Any]]:
    """Train and judge a cell, as far as its folder does not hold that already; one entry a branch."""
    folder, config = options.work / cell.folder, settings_of(cell, options)

    def judge_branches() -> Judgements:
        branches = {"light": judge(load_run(folder, "last")[0], val_sets)}
        if isinstance(config, FDEPConfig):
            branches["main"] = judge(load_main_branch(folder)[0], val_sets)
        return branches

    summary, judged = finished(
        folder,
        config,
        train=lambda resume: train(config, folder, options, resume=resume),
        judge_branches=judge_branches,
    )
    told = told_of(cell, summary, ("vfm",))
    return [{**told, "branch": branch, "sets": sets} for branch, sets in judged.items()]


def train(config: TrainingConfig, folder: Path, options: argparse.Namespace, *, resume: bool) -> None:
    """Start a run, or go on with the checkpoint in its folder."""
    hardware = hardware_of(options)
    if isinstance(config, FDEPConfig):
        train_fdep(config, folder, hardware=hardware, resume=resume)
    else:
        assert isinstance(config, SupervisedConfig)
        train_supervised(config, folder, hardware=hardware, resume=resume)


def cost_of(options: argparse.Namespace, train_sets: list[Dataset]) -> list[dict[str, Any]]:
    """What an epoch of every plain condition costs; variants cost what their condition does, or are no candidates."""
    plain = [c for c in options.conditions if "+" not in c]
    return [
        row
        for model in options.models
        for row in training_cost({c: settings_of(Cell(model, c, 0), options) for c in plain}, train_sets)
    ]


def publish(
    options: argparse.Namespace,
    runs: list[dict[str, Any]],
    sets: Iterable[Dataset],
    *,
    cost: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Write what there is so far."""
    result = {
        **facts(settings_of(Cell(options.models[0], BASE, 0), options), sets),
        "runs": runs,
        "summary": summarise(runs, base=BASE, metrics=METRICS[2:]),
        "training_cost": cost or [],
    }
    print(write_result(options.name, result, folder=options.results), flush=True)
    return result


if __name__ == "__main__":
    raise SystemExit(main())
