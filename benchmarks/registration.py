# SPDX-License-Identifier: Apache-2.0
"""Where masks lie relative to the light of their targets: those of the data sets, and those that the models draw.

    python benchmarks/registration.py --data NUAA-SIRST --data NUDT-SIRST

The synthetic scenes have exact masks and were not trained with. Only targets that stand out from their surroundings are
measured (``pitviper.train.data.registration``).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from markdown_table import markdown_table
from numpy.typing import NDArray
from record import write_result

from pitviper.core.datasets import open_dataset, read_sample
from pitviper.core.synthetic import random_scene_frame
from pitviper.sdk import Detector, list_models
from pitviper.train.data.registration import MaskOffset, mask_offsets
from pitviper.train.data.store import make_frame

SCENES = 200
SHAPE = (256, 256)
SYNTHETIC = "synthetic scenes"
TRUTH = "masks of the set"
Frames = Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, help="data set folder; repeatable")
    parser.add_argument("--split", default="val")
    options = parser.parse_args()
    sets = {SYNTHETIC: lambda: (random_scene_frame(i, SHAPE) for i in range(SCENES))}
    for dataset in (open_dataset(root, options.split) for root in options.data):
        sets[dataset.name] = lambda dataset=dataset: map(read_sample, dataset.samples)
    rows: dict[str, dict[str, Any]] = {
        TRUTH: {name: _measure(frames(), lambda _, mask: mask) for name, frames in sets.items()}
    }
    for model in list_models():
        with Detector(model) as detector:
            draw = _drawer(detector)
            rows[model] = {name: _measure(frames(), draw) for name, frames in sets.items()}
    print(write_result("registration", {"split": options.split, "scenes": SCENES, "offsets_px": rows}))
    print(table({"offsets_px": rows}))


def _drawer(detector: Detector) -> Callable[[NDArray[Any], NDArray[np.bool_]], NDArray[np.bool_]]:
    threshold = detector.manifest.default_threshold()
    return lambda frame, _: detector.detect(frame).score_map > threshold


def _measure(
    frames: Frames, masks: Callable[[NDArray[Any], NDArray[np.bool_]], NDArray[np.bool_]]
) -> dict[str, Any] | None:
    stored = [make_frame(f"set/{i}", frame, masks(frame, truth)) for i, (frame, truth) in enumerate(frames)]
    found: MaskOffset | None = mask_offsets(stored).get("set")
    if found is None:
        return None
    return {
        "rows": found.rows,
        "columns": found.columns,
        "half_width": found.half_width,
        "targets": found.targets,
    }


def table(result: dict[str, Any]) -> str:
    """Rows and columns from the light to the mask, in pixels."""
    rows = [
        [
            name,
            data,
            str(found["targets"]),
            f"{found['rows']:+.2f} ± {found['half_width']:.2f}",
            f"{found['columns']:+.2f} ± {found['half_width']:.2f}",
        ]
        for name, sets in result["offsets_px"].items()
        for data, found in sets.items()
        if found
    ]
    return markdown_table(["masks", "frames", "targets", "down, px", "right, px"], rows)


if __name__ == "__main__":
    main()
