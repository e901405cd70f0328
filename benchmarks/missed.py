# SPDX-License-Identifier: Apache-2.0
"""How sure models are of the targets that they miss (decision 19).

    python benchmarks/missed.py --data NUAA-SIRST --data NUDT-SIRST --package EARLIER

A target is missed when the score map is at most 0.5 at each of its pixels. One that gets less than SURE there is not
a matter of the threshold: the model is certain that nothing is there. Of the train splits, which the models were
trained with, the count says what training left unlearnt, and nothing about new frames.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from markdown_table import markdown_table
from numpy.typing import NDArray
from record import write_result

from pitviper.core.datasets import Dataset, open_dataset, read_sample
from pitviper.core.metrics.components import find_components
from pitviper.sdk import Detector, list_models

SURE = 0.01
COUNTS = ("targets", "missed", "surely_missed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, help="data set folder; repeatable")
    parser.add_argument("--package", action="append", default=[], type=Path, help="further model; repeatable")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    sets = [open_dataset(root, split) for root in options.data for split in ("train", "val")]
    models: dict[str, list[dict[str, Any]]] = {}
    for model in (*list_models(), *options.package):
        name = model if isinstance(model, str) else model.name
        with Detector(model, threads=options.threads) as detector:
            models[name] = [count(detector, dataset) for dataset in sets]
        print(name, models[name], flush=True)
    result = {"sure_below": SURE, "models": models}
    print(write_result("missed", result))
    print(table(result))


def count(detector: Detector, dataset: Dataset) -> dict[str, Any]:
    """Targets of a split, those missed, and those of them that get less than ``SURE``."""
    best = np.concatenate([best_scores(detector, *read_sample(sample)) for sample in dataset.samples])
    values = (len(best), (best <= 0.5).sum(), (best < SURE).sum())
    about = {"data": dataset.name, "split": dataset.split, "split_sha256": dataset.split_sha256}
    return about | {key: int(value) for key, value in zip(COUNTS, values, strict=True)}


def best_scores(detector: Detector, frame: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Highest probability within each target."""
    return find_components(mask).peaks(detector.detect(frame).score_map)


def table(result: dict[str, Any]) -> str:
    """Missed, and surely missed, of all targets of each split."""
    rows, head = [], ["model"]
    for name, found in result["models"].items():
        head = ["model", *(f"{each['data']}, {each['split']} ({each['targets']} targets)" for each in found)]
        rows.append([name, *(f"{each['missed']} ({each['surely_missed']})" for each in found)])
    return markdown_table(head, rows)


if __name__ == "__main__":
    main()
