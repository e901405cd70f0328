# SPDX-License-Identifier: Apache-2.0
"""How far do single points go? Recipes that learn from points against the same network trained from masks.

    python benchmarks/points.py --work runs/points --data NUAA-SIRST --data NUDT-SIRST --prior PRIOR.safetensors

Runs of one seed share first weights, data and schedule. Points are derived from the masks of the train splits, which
then serve for nothing else. Judged are the averaged weights after the last epoch, on the val splits: no epoch is
chosen. Conditions are ``supervised`` and the point recipes; ``RECIPE+SETTING=VALUE`` changes a setting, such as
``semantic_priors+bilevel=none`` or, which leaves the evolution out, ``semantic_priors+start=1+mine_until=1``.

A finished run in --work is kept and a killed one goes on, so the same command again, or one with more seeds, models or
conditions, adds to the table. Runs of several machines or code versions do not belong in one folder.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
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
from over_seeds import summarise
from paired import estimate
from points_table import markdown
from record import write_result
from trainings import METRICS, SHARED, Cell, Judgements, changed_settings, facts, finished, judge

from pitviper.core.datasets import Dataset
from pitviper.train.config import DetectorConfig, SupervisedConfig
from pitviper.train.foundation import FeatureCache
from pitviper.train.point_config import POINT_RECIPES, PointConfig, SemanticPriorsConfig
from pitviper.train.run import load_main_branch, load_run, train_points, train_supervised

OURS = "semantic_priors"
LATE = 0.2


def main(arguments: list[str] | None = None) -> int:
    options = read_options(arguments)
    train_sets, val_sets = splits_of(options)
    result: dict[str, Any] = {}

    def publish_so_far(runs: Runs) -> None:
        result.update(publish(options, runs, (*train_sets, *val_sets)))

    run_cells(options, lambda cell: one_run(cell, options, val_sets), publish_so_far)
    print(markdown(result))
    return 0


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = comparison_parser(__doc__.splitlines()[0], conditions=tuple(POINT_RECIPES), epochs=20)
    parser.add_argument("--points", choices=("centroid", "coarse"), default="centroid")
    parser.add_argument("--vfm-cache", type=Path, help="folder for its features of whole frames")
    parser.add_argument("--name", default="points", help="of the result file (default %(default)s)")
    options = parser.parse_args(arguments)
    require_conditions(options, settings_of)
    return options


def settings_of(cell: Cell, options: argparse.Namespace) -> DetectorConfig:
    """Settings of a run; what is not the condition's is the same for every condition.

    Raises:
        SystemExit: Unknown condition or setting, or semantic priors without a foundation model.
    """
    common = common_settings(cell, options, validate_every=1)
    base, *changes = cell.condition.split("+")
    if base == BASE and not changes:
        return SupervisedConfig(**common)
    kind = POINT_RECIPES.get(base)
    if kind is None:
        raise SystemExit(f"unknown condition {base!r}; known are {', '.join((BASE, *POINT_RECIPES))}")
    if issubclass(kind, SemanticPriorsConfig):
        if options.prior is None:
            raise SystemExit(f"{base} needs --prior FILE")
        common["vfm_weights"] = str(options.prior)
    changed = changed_settings(changes, kind, fixed=SHARED)
    return kind(**common, points=options.points, **changed)  # type: ignore[call-arg]


def one_run(cell: Cell, options: argparse.Namespace, val_sets: list[Dataset]) -> list[dict[str, Any]]:
    """Train and judge a cell, as far as its folder does not hold that already; one entry a branch."""
    folder, config = options.work / cell.folder, settings_of(cell, options)

    def judge_branches() -> Judgements:
        branches = {"light": judge(load_run(folder, "last")[0], val_sets)}
        if isinstance(config, SemanticPriorsConfig):
            branches["main"] = judge(load_main_branch(folder)[0], val_sets)
        return branches

    summary, judged = finished(
        folder,
        config,
        train=lambda resume: train(config, folder, options, resume=resume),
        judge_branches=judge_branches,
    )
    cost = folder / "cost.json"
    told = {
        **told_of(cell, summary, ("vfm", "points")),
        **(json.loads(cost.read_text()) if cost.is_file() else {}),
        **labels(summary["history"]),
    }
    late = late_deviation(summary["history"])
    return [
        {**told, "branch": branch, "sets": sets, **({"late_deviation": late} if branch == "light" else {})}
        for branch, sets in judged.items()
    ]


def train(config: DetectorConfig, folder: Path, options: argparse.Namespace, *, resume: bool) -> None:
    """Start a run, or go on with the checkpoint in its folder."""
    hardware = hardware_of(options)
    if isinstance(config, PointConfig):
        cache = FeatureCache(options.vfm_cache) if options.vfm_cache else None
        train_points(config, folder, hardware=hardware, resume=resume, cache=cache)
    else:
        assert isinstance(config, SupervisedConfig)
        train_supervised(config, folder, hardware=hardware, resume=resume)


def labels(history: list[dict[str, Any]]) -> dict[str, Any]:
    """IoU of the labels that the first and the last epoch trained with, against the masks, and the frames in use."""
    states = [entry["companion"] for entry in history if "label_iou" in entry.get("companion", {})]
    if not states:
        return {}
    ends = {"first": states[0], "last": states[-1]}
    return {
        "labels": {
            when: {"iou": round(state["label_iou"], 4), "frames": int(state["selected"])}
            for when, state in ends.items()
        }
    }


def late_deviation(history: list[dict[str, Any]]) -> dict[str, float]:
    """Standard deviation of the student's val IoU over the last fifth of the epochs, by set."""
    first = len(history) - max(2, round(LATE * len(history)))
    late = [entry["validation"] for entry in history[first:] if "validation" in entry]
    return {name: float(np.std([each[name]["iou"] for each in late], ddof=1)) for name in late[0]}


def publish(
    options: argparse.Namespace, runs: list[dict[str, Any]], sets: Iterable[Dataset]
) -> dict[str, Any]:
    """Write what there is so far."""
    from_points = [r for r in runs if r["condition"] != BASE]
    result = {
        **facts(settings_of(Cell(options.models[0], BASE, 0), options), sets),
        "points": options.points,
        "runs": runs,
        "summary": summarise(runs, base=BASE, metrics=METRICS[2:]),
        "parts": summarise(from_points, base=OURS, metrics=METRICS[2:]),
        "late_deviation": late_summary(runs),
    }
    print(write_result(options.name, result, folder=options.results), flush=True)
    return result


def late_summary(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean over seeds of the late deviation: one row a model, condition and set."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for run in runs:
        for data, value in run.get("late_deviation", {}).items():
            groups.setdefault((run["model"], run["condition"], data), []).append(value)
    return [
        {"model": model, "condition": condition, "set": data, "iou": estimate(values)}
        for (model, condition, data), values in groups.items()
    ]


if __name__ == "__main__":
    raise SystemExit(main())
