# SPDX-License-Identifier: Apache-2.0
"""What models find when standardised frames have more or less contrast than their own (decision 20).

    python benchmarks/contrast.py --data NUAA-SIRST --data NUDT-SIRST --package EARLIER

`standardise` divides by a mixture of the frame's fine and coarse deviation, so the same target comes out brighter or
darker with the clutter, the noise and the field of view around it. A detector of targets should not depend on that.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from markdown_table import markdown_table
from record import write_result

from pitviper.core.datasets import Dataset, open_dataset, read_sample
from pitviper.core.metrics import DetectionMetrics
from pitviper.core.models import DetectorNetwork
from pitviper.core.weights import load_model
from pitviper.kernels import standardise
from pitviper.sdk import list_models, open_model
from pitviper.train.validate import EARLY_KEYS, predict_standardised

CONTRASTS = (0.5, 0.7, 1.0, 1.4, 2.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, help="data set folder; repeatable")
    parser.add_argument("--package", action="append", default=[], type=Path, help="further model; repeatable")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sets = [open_dataset(root, "val") for root in options.data]
    models: dict[str, dict[str, Any]] = {}
    for model in (*list_models(), *options.package):
        name = model if isinstance(model, str) else model.name
        network = load_model(open_model(model)).eval()
        models[name] = {dataset.name: judge(network, dataset) for dataset in sets}
        print(name, models[name], flush=True)
    result = {"split": "val", "threshold": 0.5, "contrasts": CONTRASTS, "models": models}
    print(write_result("contrast", result))
    print(table(result))


def judge(network: DetectorNetwork, dataset: Dataset) -> dict[str, dict[str, float]]:
    """``EARLY_KEYS`` of the data set, by contrast."""
    metrics = {contrast: DetectionMetrics(curves=False) for contrast in CONTRASTS}
    for sample in dataset.samples:
        frame, mask = read_sample(sample)[:2]
        image = standardise(frame)
        for contrast, each in metrics.items():
            each.update(predict_standardised(network, contrast * image), mask)
    found = {contrast: each.compute().to_dict() for contrast, each in metrics.items()}
    return {
        str(contrast): {key: float(values[key]) for key in EARLY_KEYS} for contrast, values in found.items()
    }


def table(result: dict[str, Any]) -> str:
    """IoU, Pd and false objects a frame by contrast."""
    head = ["model", "data", *(f"x {contrast:g}" for contrast in result["contrasts"])]
    rows = [
        [name, data, *(cell(values[str(contrast)]) for contrast in result["contrasts"])]
        for name, sets in result["models"].items()
        for data, values in sets.items()
    ]
    return markdown_table(head, rows)


def cell(values: dict[str, float]) -> str:
    """IoU / Pd in percent / false objects per frame."""
    return f"{100 * values['iou']:.1f} / {100 * values['pd']:.1f} / {values['false_objects_per_frame']:.2f}"


if __name__ == "__main__":
    main()
