# SPDX-License-Identifier: Apache-2.0
"""Do labels get better as they evolve? The first and the last labels of finished runs against the masks.

    python benchmarks/label_drift.py --data NUAA-SIRST --data NUDT-SIRST RUN RUN ...

RUN is the folder of a finished run from points, with its checkpoint, such as ``points.py`` leaves. The masks judge and
serve for nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from markdown_table import markdown_table
from record import RESULTS, write_result
from safetensors.torch import load_file

from pitviper.core.datasets import open_dataset
from pitviper.train.config import stored_config
from pitviper.train.evolution.pools import LabelPools, PoolRule
from pitviper.train.evolution.start import split_frames
from pitviper.train.point_config import LESPSConfig, PointConfig, SemanticPriorsConfig
from pitviper.train.points.source import PointFrame, load_point_frames
from pitviper.train.run import load_run
from pitviper.train.state import CHECKPOINT

_LABELS = "companion/pools."
_MEASURES = ("label_iou", "label_niou", "label_area")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    parser.add_argument("--data", action="append", required=True, help="data set folder; repeatable")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the result file goes")
    options = parser.parse_args(arguments)
    result = {"runs": [look(folder, tuple(options.data)) for folder in options.runs]}
    print(write_result("label_drift", result, folder=options.results))
    print(markdown(result))
    return 0


@cache
def read_frames(
    data: tuple[str, ...], points: str, outline: str, polarity: str, seed: int
) -> list[PointFrame]:
    """Frames of the train splits; coarse points alone depend on the seed."""
    sets = [open_dataset(root, "train") for root in data]
    return load_point_frames(sets, points, outline=outline, polarity=polarity, seed=seed, quiet=True)


def look(folder: Path, data: tuple[str, ...]) -> dict[str, Any]:
    """First and last labels of a run, by data set."""
    config = stored_config(load_run(folder, "last")[1])
    assert isinstance(config, PointConfig)
    seed = config.seed if config.points == "coarse" else 0
    frames = read_frames(data, config.points, config.outline, config.polarity, seed)
    later: list[PointFrame] = []
    if isinstance(config, SemanticPriorsConfig) and config.bilevel != "none":
        frames, later = split_frames(frames, share=config.upper_share, seed=config.seed)
    # Every frame, so that first and last are those of the same ones; the run began with the easy ones alone.
    rule = PoolRule(least_share=-1.0, from_points=isinstance(config, LESPSConfig))
    first, last = LabelPools(frames, rule, later=later), LabelPools(frames, rule, later=later)
    first.join()
    state = load_file(folder / CHECKPOINT)
    last.load_state_dict({k.removeprefix(_LABELS): v for k, v in state.items() if k.startswith(_LABELS)})
    sets: dict[str, list[str]] = {}
    for name in last.labels:
        sets.setdefault(name.partition("/")[0], []).append(name)
    return {
        "run": folder.name,
        "sets": {
            data: {when: compare(pools, names) for when, pools in (("first", first), ("last", last))}
            for data, names in sets.items()
        },
    }


def compare(pools: LabelPools, names: list[str]) -> dict[str, float]:
    return {measure: round(value, 4) for measure, value in pools.compare(names).items()}


def markdown(result: dict[str, Any]) -> str:
    """Means over the seeds of each recipe: the name of a run ends with its seed."""
    groups: dict[tuple[str, str], list[dict[str, dict[str, float]]]] = {}
    for run in result["runs"]:
        for name, sets in run["sets"].items():
            groups.setdefault((run["run"].rpartition("-")[0], name), []).append(sets)
    rows = [
        [
            recipe,
            name,
            str(len(seeds)),
            *(f"{shown(seeds, 'first', m)} → {shown(seeds, 'last', m)}" for m in _MEASURES),
        ]
        for (recipe, name), seeds in groups.items()
    ]
    head = ["run", "set", "seeds", "IoU of all pixels", "mean IoU of frames", "median share of the true area"]
    return (
        "Labels of the frames that are in use at the end of a run against the masks: their first ones (single pixels "
        "where a point has no outline, though such frames wait) → their last ones:\n\n"
    ) + markdown_table(head, rows)


def shown(seeds: Sequence[dict[str, dict[str, float]]], when: str, measure: str) -> str:
    value = sum(sets[when][measure] for sets in seeds) / len(seeds)
    return f"{value:.2f}" if measure == "label_area" else f"{100 * value:.1f}"


if __name__ == "__main__":
    raise SystemExit(main())
