# SPDX-License-Identifier: Apache-2.0
"""Whether a budget of false alarms holds on scenes that were not measured.

    python benchmarks/budget.py --data BACKGROUNDS --seen-in-training

The scores of empty scenes are split at random into a half to calibrate on and a half held out, 500 times. On the
synthetic scenes, and on folders of real frames without a target, each frame is a scene of its own. Real frames that a
model was trained on as negatives score lower than new ones: ``--seen-in-training`` writes that beside them.
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
from pitviper.sdk import Calibration, Detector, FaBudget, InputError

SPLITS = 500
SIDE = 128
CONFIDENCE = 0.95
BUDGETS = (0.8, 0.4, 0.2, 0.1, 0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="pit-n")
    parser.add_argument("--scenes", type=int, default=400, help="synthetic scenes (default: %(default)s)")
    parser.add_argument("--data", action="append", default=[], help="folder whose images/ hold no target")
    parser.add_argument("--seen-in-training", action="store_true", help="the model was trained on --data")
    options = parser.parse_args()
    rows: dict[str, Any] = {}
    with Detector(options.model, threads=1) as detector:
        rows["synthetic, all clutters"] = judge(scores(detector, _synthetic(options.scenes)))
        for root in options.data:
            dataset = open_dataset(root, "train")
            frames = (read_sample(sample)[0] for sample in dataset.samples)
            found = judge(scores(detector, frames))
            rows[dataset.name] = {**found, "seen_in_training": options.seen_in_training}
    for name, row in rows.items():
        print(name, row)
    print(write_result("budget", {"model": options.model, "confidence": CONFIDENCE, "sets": rows}))


def scores(detector: Detector, frames: Iterable[NDArray[Any]]) -> NDArray[np.float64]:
    """Highest probability of each frame."""
    return np.array([min(float(detector.detect(frame).score_map.max()), 1.0) for frame in frames])


def judge(found: NDArray[np.float64]) -> dict[str, Any]:
    """Held-out rates at the calibrated thresholds, over random halves."""
    rng = np.random.default_rng(0)
    half = len(found) // 2
    rows = {}
    for allowed in BUDGETS:
        rates, refused = [], 0
        for _ in range(SPLITS):
            order = rng.permutation(len(found))
            made = Calibration.of(
                found[order[:half]], model="", model_sha256="", source="", confidence=CONFIDENCE
            )
            try:
                threshold = made.threshold_for(FaBudget(per_frame=allowed))
            except InputError:
                refused += 1
                continue
            rates.append(float(np.mean(found[order[half:]] > threshold)))
        rows[str(allowed)] = {
            "mean_rate": round(float(np.mean(rates)), 4) if rates else None,
            # A refusal gives no threshold, and belongs to the guarantee: 5 % at most may be broken, of all splits.
            "share_of_splits_broken": round(sum(rate > allowed for rate in rates) / SPLITS, 3),
            "splits_refused": refused,
        }
    return {
        "frames": len(found),
        "rate_at_0.5": round(float(np.mean(found > 0.5)), 4),
        "budgets_per_frame": rows,
    }


def _synthetic(count: int) -> Iterable[NDArray[Any]]:
    for seed in range(count):
        config = SceneConfig(
            width=SIDE,
            height=SIDE,
            frames=1,
            targets=0,
            seed=seed,
            clutter=CLUTTERS[seed % len(CLUTTERS)],
        )
        yield Scene(config)[0].frame


if __name__ == "__main__":
    main()
