# SPDX-License-Identifier: Apache-2.0
"""False alarms of the shipped models on frames that hold no target: synthetic scenes, and folders of real frames.

    python benchmarks/target_free.py --data BACKGROUNDS --seen-in-training

No model was trained on a synthetic scene. Real frames that a model was trained on as negatives are not held out:
``--seen-in-training`` writes that beside their numbers.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import write_result

from pitviper.core.datasets import open_dataset, read_sample
from pitviper.core.synthetic import CLUTTERS, Scene, SceneConfig
from pitviper.sdk import Detector, list_models

SCENES = 25
SHAPE = (512, 640)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", default=[], help="folder whose images/ hold no target")
    parser.add_argument("--seen-in-training", action="store_true", help="the models were trained on --data")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for name in list_models():
        with Detector(name) as detector:
            rows = {f"synthetic {clutter}": count(detector, _synthetic(clutter)) for clutter in CLUTTERS}
            for root in options.data:
                dataset = open_dataset(root, "train")
                frames = (read_sample(sample)[0] for sample in dataset.samples)
                rows[dataset.name] = count(detector, frames) | {"seen_in_training": options.seen_in_training}
        results[name] = rows
        for data, row in rows.items():
            print(f"{name}  {data}: {row}")
    print(write_result("target_free", {"models": results}))


def count(detector: Detector, frames: Iterable[NDArray[Any]]) -> dict[str, Any]:
    """Objects per frame and per megapixel, and the share of silent frames, at every operating point's threshold."""
    found: dict[float, list[int]] = {point.threshold: [] for point in detector.manifest.operating_points}
    pixels = 0
    for frame in frames:
        pixels += frame.size
        for threshold, counts in found.items():
            counts.append(len(detector.detect(frame, threshold=threshold)))
    return {
        "frames": len(next(iter(found.values()))),
        "thresholds": {
            str(threshold): {
                "objects_per_frame": round(float(np.mean(counts)), 3),
                "objects_per_mpix": round(sum(counts) / pixels * 1e6, 3),
                "silent_frames": round(float(np.mean(np.asarray(counts) == 0)), 3),
            }
            for threshold, counts in found.items()
        },
    }


def _synthetic(clutter: str) -> Iterable[NDArray[Any]]:
    for seed in range(SCENES):
        config = SceneConfig(clutter=clutter, targets=0, seed=seed, height=SHAPE[0], width=SHAPE[1], frames=1)
        yield Scene(config)[0].frame


if __name__ == "__main__":
    main()
