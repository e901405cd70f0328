# SPDX-License-Identifier: Apache-2.0
"""Accuracy of the shipped models on validation splits, through the same `Detector` that an application uses.

    python benchmarks/validation.py --data NUAA-SIRST --data NUDT-SIRST

Before any number is written, three engines have to agree on every frame (ONNX Runtime, torch deployed, torch in
training form), and every frame has to give the same targets after a change of gain and offset, in uint16 and float32.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from markdown_table import markdown_table
from numpy.typing import NDArray
from record import write_result

from pitviper.core.datasets import Dataset, open_dataset, read_sample
from pitviper.core.evaluation import evaluate
from pitviper.core.weights import load_model
from pitviper.sdk import Detections, Detector, list_models
from pitviper.train.validate import predictor

GAIN, OFFSET = 37, 1200
MAP_TOLERANCE = 2e-3
"""Largest difference of one probability: float32 rounding of three orders of summation, at the sigmoid's steepest."""
POSITION_TOLERANCE_PX = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, help="data set folder; repeatable")
    parser.add_argument("--split", default="val")
    options = parser.parse_args()
    datasets = [open_dataset(root, options.split) for root in options.data]
    results = {name: _one_model(name, datasets) for name in list_models()}
    print(write_result("validation", {"split": options.split, "models": results}))
    print(table(results))


def _one_model(name: str, datasets: list[Dataset]) -> dict[str, Any]:
    with Detector(name, engine="onnxruntime") as detector:
        agreement = engine_agreement(detector, datasets)
        invariance = gain_invariance(detector, datasets)
        sets = {d.name: _evaluate(detector, d) for d in datasets}
    return {"engines": agreement, "gain_and_offset": invariance, "sets": sets}


def _evaluate(detector: Detector, dataset: Dataset) -> dict[str, Any]:
    result = evaluate(lambda frame: detector.detect(frame).score_map, dataset.samples)
    return {"split_sha256": dataset.split_sha256, **result.metrics.to_dict()}


def engine_agreement(detector: Detector, datasets: list[Dataset]) -> dict[str, Any]:
    """Largest differences of the probability map and the target list between three ways to run the network."""
    training_form = predictor(load_model(detector.package))
    worst_map = {"torch": 0.0, "training_form": 0.0}
    worst_position, differing, frames = 0.0, 0, 0
    with Detector(detector.package, engine="torch") as other:
        for frame in _frames(datasets):
            ours, theirs = detector.detect(frame), other.detect(frame)
            worst_map["torch"] = max(worst_map["torch"], _gap(ours.score_map, theirs.score_map))
            worst_map["training_form"] = max(
                worst_map["training_form"], _gap(ours.score_map, training_form(frame))
            )
            distance = target_distance(ours, theirs)
            differing += distance is None
            worst_position = max(worst_position, distance or 0.0)
            frames += 1
    if max(worst_map.values()) > MAP_TOLERANCE or worst_position > POSITION_TOLERANCE_PX or differing:
        raise SystemExit(
            f"the engines disagree: maps by {worst_map}, positions by {worst_position:.4f} px, {differing} frames with "
            "another number of targets; no number is published"
        )
    return {
        "frames": frames,
        "map_tolerance": MAP_TOLERANCE,
        "worst_map_difference": worst_map,
        "worst_position_difference_px": worst_position,
        "frames_with_other_targets": differing,
    }


def gain_invariance(detector: Detector, datasets: list[Dataset]) -> dict[str, Any]:
    """Compare the targets of every 8-bit frame x with those of 37 x + 1200 as uint16 and as float32."""
    worst, differing, frames = 0.0, 0, 0
    for frame in _frames(datasets):
        expected = detector.detect(frame)
        changed = GAIN * frame.astype(np.uint16) + OFFSET
        for variant in (changed.astype(np.uint16), changed.astype(np.float32)):
            distance = target_distance(expected, detector.detect(variant))
            differing += distance is None
            worst = max(worst, distance or 0.0)
        frames += 1
    if differing or worst > POSITION_TOLERANCE_PX:
        raise SystemExit(
            f"gain and offset change {differing} frames (positions by {worst} px); no number is published"
        )
    return {
        "frames": frames,
        "gain": GAIN,
        "offset": OFFSET,
        "frames_with_other_targets": differing,
        "worst_position_difference_px": worst,
    }


def target_distance(a: Detections, b: Detections) -> float | None:
    """Largest distance in pixels between the targets of two results in order; None when their numbers differ."""
    if len(a) != len(b):
        return None
    return float(np.abs(a.xy - b.xy).max()) if len(a) else 0.0


def table(results: dict[str, Any]) -> str:
    """The published columns as a Markdown table."""
    head = [
        "model",
        "set",
        "images / targets",
        "IoU",
        "nIoU",
        "Pd",
        "Fa, px/Mpx",
        "false objects/frame",
        "F1",
    ]
    rows = []
    for name, result in results.items():
        for data, m in result["sets"].items():
            cells = [name, data, f"{m['images']} / {m['targets']}"]
            cells += [f"{100 * m[key]:.1f}" for key in ("iou", "niou", "pd")]
            cells += [f"{m['fa_per_mpix']:.1f}", f"{m['false_objects_per_frame']:.2f}"]
            rows.append([*cells, *(f"{100 * m[key]:.1f}" for key in ("f1", "hse"))])
    return markdown_table([*head, "HSE (hse-v0)"], rows)


def _frames(datasets: list[Dataset]) -> list[NDArray[Any]]:
    return [read_sample(sample)[0] for dataset in datasets for sample in dataset.samples]


def _gap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.abs(a - b).max())


if __name__ == "__main__":
    main()
