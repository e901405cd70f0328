# SPDX-License-Identifier: Apache-2.0
"""How good are the first masks of points? Each kind of outline against the masks of the train splits.

    python benchmarks/first_masks.py --data NUAA-SIRST --data NUDT-SIRST

``edges`` is the published procedure, ``level`` ours. IoU pools the pixels of the frames that begin; ``begin`` is the
share of the frames, ``outlined`` the share of the points. The shares and the largest area of ``level`` were found on
these masks, so its numbers are optimistic; ``coarse`` points are as a person may click them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from markdown_table import markdown_table
from record import RESULTS, write_result

from pitviper.core.datasets import Dataset
from pitviper.train.data.splits import open_splits
from pitviper.train.point_config import DERIVED
from pitviper.train.points.initial import OUTLINES, easy_mask
from pitviper.train.points.source import load_point_frames


def measure(dataset: Dataset, source: str, outline: str, *, seed: int) -> dict[str, Any]:
    """One row: a set, a kind of points and a kind of outline."""
    frames = load_point_frames([dataset], source, outline=outline, seed=seed)
    common = union = begin = 0
    for each in frames:
        mask = easy_mask(each.found, each.points)
        if mask is not None and each.truth is not None:
            begin += 1
            common, union = common + int((mask & each.truth).sum()), union + int((mask | each.truth).sum())
    points = sum(len(each.points) for each in frames)
    return {
        "set": dataset.name,
        "points": source,
        "outline": outline,
        "frames": len(frames),
        "begin": begin / len(frames),
        "outlined": sum(int(each.found.accepted.sum()) for each in frames) / points,
        "iou": common / union if union else None,
    }


def table(result: dict[str, Any]) -> str:
    """The published table in Markdown."""
    rows = [
        [
            row["set"],
            row["points"],
            row["outline"],
            f"{100 * row['outlined']:.0f} %",
            f"{100 * row['begin']:.0f} %",
            "-" if row["iou"] is None else f"{100 * row['iou']:.1f}",
        ]
        for row in result["rows"]
    ]
    head = ["set", "points", "outline", "points with an outline", "frames that begin", "IoU of their masks"]
    return markdown_table(head, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, help="data set folder; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="of the coarse points")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = [
        measure(dataset, source, outline, seed=options.seed)
        for dataset in open_splits(tuple(options.data))[0]
        for source in DERIVED
        for outline in OUTLINES
    ]
    path = write_result("first_masks", {"seed": options.seed, "rows": rows}, folder=options.results)
    print(path, table(json.loads(path.read_text())), sep="\n")


if __name__ == "__main__":
    main()
