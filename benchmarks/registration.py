# SPDX-License-Identifier: Apache-2.0
"""Where the masks of data sets and of models lie relative to the light of their targets (decision 18).

    python benchmarks/registration.py --data NUAA-SIRST --data NUDT-SIRST --beside NUDT-SIRST --package EARLIER

Offsets are measured on the val splits and on synthetic scenes, which have exact masks and were not trained with, of
targets that stand out from their surroundings. IoU is that of the train split of --beside, by whether a frame's masks
lie beside its targets: the models were trained with these frames, so it says what they could learn, not what they
reach on new ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from markdown_table import markdown_table
from numpy.typing import NDArray
from record import write_result
from upright import GROUPS, lies_beside

from pitviper.core.datasets import Dataset, open_dataset, read_sample
from pitviper.core.metrics import DetectionMetrics
from pitviper.core.synthetic import random_scene_frame
from pitviper.sdk import Detector, list_models
from pitviper.train.data.registration import mask_offsets
from pitviper.train.data.store import make_frame

SCENES = 200
SHAPE = (256, 256)
TRUTH = "masks of the set"
Frame, Mask = NDArray[Any], NDArray[np.bool_]
Frames = Iterator[tuple[Frame, Mask]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, help="data set folder; repeatable")
    parser.add_argument(
        "--beside", required=True, help="data set folder whose masks lie beside their targets"
    )
    parser.add_argument("--package", action="append", default=[], type=Path, help="further model; repeatable")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    sets: dict[str, Callable[[], Frames]] = {"synthetic scenes": _scenes}
    sets |= {d.name: partial(_samples, d) for d in (open_dataset(root, "val") for root in options.data)}
    beside = open_dataset(options.beside, "train")
    offsets = {TRUTH: {name: measure(frames(), lambda _, mask: mask) for name, frames in sets.items()}}
    judged = {}
    for model in (*list_models(), *options.package):
        name = model if isinstance(model, str) else model.name
        with Detector(model, threads=options.threads) as detector:
            draw = partial(_draw, detector)
            offsets[name] = {data: measure(frames(), draw) for data, frames in sets.items()}
            judged[name] = judge(_samples(beside), draw)
            print(name, judged[name], flush=True)
    data = {"name": beside.name, "split": "train", "split_sha256": beside.split_sha256}
    result = {"scenes": SCENES, "offsets_px": offsets, "beside": {"data": data, "judged": judged}}
    print(write_result("registration", result))
    print(table(result), trained_table(result), sep="\n\n")


def _scenes() -> Frames:
    return (random_scene_frame(seed, SHAPE) for seed in range(SCENES))


def _samples(dataset: Dataset) -> Frames:
    return map(read_sample, dataset.samples)


def _draw(detector: Detector, frame: Frame, _: Mask) -> Mask:
    drawn: Mask = detector.detect(frame).score_map > detector.manifest.default_threshold()
    return drawn


def measure(frames: Frames, masks: Callable[[Frame, Mask], Mask]) -> dict[str, Any] | None:
    """Mean offset of the masks of a frame and its truth; None where no target can be measured."""
    stored = [make_frame(f"set/{i}", frame, masks(frame, truth)) for i, (frame, truth) in enumerate(frames)]
    found = mask_offsets(stored).get("set")
    if found is None:
        return None
    keys = ("rows", "columns", "half_width", "targets")
    return {key: getattr(found, key) for key in keys}


def judge(frames: Frames, draw: Callable[[Frame, Mask], Mask]) -> dict[str, dict[str, Any]]:
    """IoU and nIoU by group of frames."""
    groups = {group: DetectionMetrics(curves=False) for group in GROUPS}
    for i, (frame, mask) in enumerate(frames):
        group = "beside" if lies_beside(make_frame(f"set/{i}", frame, mask)) else "rest"
        groups[group].update(draw(frame, mask).astype(np.float32), mask)
    found = {group: metrics.compute() for group, metrics in groups.items()}
    return {g: {"images": each.images, "iou": each.iou, "niou": each.niou} for g, each in found.items()}


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


def trained_table(result: dict[str, Any]) -> str:
    """IoU and nIoU on the frames that were trained with."""
    judged = result["beside"]["judged"]
    counts = {group: next(iter(judged.values()))[group]["images"] for group in GROUPS}
    rows = [
        [name, *(f"{100 * groups[g]['iou']:.1f} / {100 * groups[g]['niou']:.1f}" for g in GROUPS)]
        for name, groups in judged.items()
    ]
    head = ["model", f"{counts['beside']} frames with masks beside", f"{counts['rest']} others"]
    return markdown_table(head, rows)


if __name__ == "__main__":
    main()
