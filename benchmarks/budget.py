# SPDX-License-Identifier: Apache-2.0
"""Whether a budget of false alarms holds on empty scenes that were not measured, and what it costs in targets.

    python benchmarks/budget.py --data BACKGROUNDS --seen-in-training --targets NUAA_SIRST

Synthetic scenes come in five groups of their own seeds: calibrated on one, judged on the other four. A folder of real
frames without a target is cut in its middle by file name: calibrated on one half, judged on the other, both ways. Those
parts may differ in kind, as a camera's next day does. Random halves cannot: there the share of splits above the budget
follows from the method alone (a beta-binomial distribution), and only scores that are equal change it. Every frame is
a block. Frames that a model was trained on as negatives score lower than new ones: ``--seen-in-training`` says so.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from record import write_result
from scipy.stats import betabinom

from pitviper.core.datasets import Dataset, open_dataset, read_sample
from pitviper.core.metrics.components import find_components
from pitviper.core.synthetic import CLUTTERS, Scene, SceneConfig
from pitviper.sdk import Calibration, Detector, FaBudget, InputError, LogOdds
from pitviper.sdk.calibration import LOG_ODDS, PROBABILITY, alarms_allowed
from pitviper.sdk.log_odds import log_odds_of

SPLITS = 500
GROUPS = 5
SIDE = 128
CONFIDENCE = 0.95
BUDGETS = (0.5, 0.3, 0.2, 0.1)
Scores = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["pit-n", "pit-s"])
    parser.add_argument(
        "--scenes", type=int, default=40, help="synthetic scenes of a group (default: %(default)s)"
    )
    parser.add_argument("--data", help="folder whose images/ hold no target")
    parser.add_argument("--seen-in-training", action="store_true", help="the models were trained on --data")
    parser.add_argument("--targets", help="data set whose targets are looked for at each threshold")
    options = parser.parse_args()
    drawn = [_synthetic(options.scenes, group) for group in range(GROUPS)]
    real = None if options.data is None else open_dataset(options.data, "train")
    wanted = None if options.targets is None else open_dataset(options.targets, "val")
    models: dict[str, Any] = {}
    for name in options.models:
        with Detector(name, threads=1) as detector:
            peaks = None if wanted is None else target_scores(detector, wanted)
            groups = [scores(detector, frames) for frames in drawn]
            check(detector, drawn, groups)
            others = [np.concatenate([*groups[:at], *groups[at + 1 :]]) for at in range(GROUPS)]
            sets = {"synthetic": judge(list(zip(groups, others, strict=True)), peaks)}
            if real is not None:
                found = scores(detector, (read_sample(sample)[0] for sample in real.samples))
                halves = found[: len(found) // 2], found[len(found) // 2 :]
                sets[real.name] = judge([halves, halves[::-1]], peaks)
                sets[real.name]["seen_in_training"] = options.seen_in_training
            models[name] = sets
    told = {"confidence": CONFIDENCE, "splits": SPLITS, "targets": None if wanted is None else wanted.name}
    print(write_result("budget", {**told, "models": models}))


def scores(detector: Detector, frames: Iterable[NDArray[Any]]) -> Scores:
    """Highest log-odds of each frame."""
    found = (detector.detect(frame, threshold=LogOdds(5)).log_odds_map.max() for frame in frames)
    return np.array(list(found), np.float32)


def target_scores(detector: Detector, dataset: Dataset) -> Scores:
    """Highest log-odds within each target of a data set."""
    found: list[float] = []
    for sample in dataset.samples:
        frame, mask = read_sample(sample)[:2]
        odds = detector.detect(frame, threshold=LogOdds(5)).log_odds_map
        found += find_components(mask).peaks(odds).tolist()
    return np.array(found, np.float32)


def check(detector: Detector, drawn: list[list[NDArray[Any]]], groups: list[Scores]) -> None:
    """The scores stand for what a detector does: as many frames with a target as scores above the threshold."""
    made = calibrated(groups[0], LOG_ODDS)
    for allowed in BUDGETS:
        threshold = made.threshold_for(FaBudget(per_frame=allowed))
        alarms = sum(len(detector.detect(frame, threshold=threshold)) > 0 for frame in drawn[1])
        expected = int(np.count_nonzero(groups[1] > log_odds_of(threshold)))
        if alarms != expected:
            raise SystemExit(f"{alarms} frames with a target at {threshold!r}, the scores say {expected}")


def calibrated(found: Scores, scale: str) -> Calibration:
    """A calibration of log-odds, or of the probabilities in float32 that they become."""
    given = found if scale == LOG_ODDS else (1 / (1 + np.exp(-found.astype(np.float64)))).astype(np.float32)
    return Calibration.of(given, model="", model_sha256="", source="", confidence=CONFIDENCE, scale=scale)


def judge(parts: list[tuple[Scores, Scores]], peaks: Scores | None) -> dict[str, Any]:
    """Held-out rates by budget: of given parts (calibrated on, judged on), and over random halves of them all."""
    everything = np.concatenate(parts[0])
    rows = []
    for allowed, scale in itertools.product(BUDGETS, (PROBABILITY, LOG_ODDS)):
        found = [_held_out(calibrate_on, judged, allowed, scale) for calibrate_on, judged in parts]
        rows.append(
            {
                "per_frame": allowed,
                "scale": scale,
                "rates": [None if each is None else round(each[1], 4) for each in found],
                "thresholds_log_odds": [None if each is None else round(each[0], 2) for each in found],
                "targets_found": None
                if peaks is None
                else [None if each is None else round(float(np.mean(peaks > each[0])), 4) for each in found],
                "random_halves": _random_halves(everything, allowed, scale),
            }
        )
    return {
        "frames": len(everything),
        "calibrated_on": [len(each) for each, _ in parts],
        "rate_at_0.5": round(float(np.mean(everything > 0)), 4),
        "probability_is_1": int(np.count_nonzero(1 / (1 + np.exp(-everything)) == 1)),
        "budgets": rows,
    }


def _held_out(calibrate_on: Scores, judged: Scores, allowed: float, scale: str) -> tuple[float, float] | None:
    """Log-odds of the threshold and the rate that follows; None when the calibration gives no threshold."""
    try:
        threshold = calibrated(calibrate_on, scale).threshold_for(FaBudget(per_frame=allowed))
    except InputError:
        return None
    level = log_odds_of(threshold)
    return level, float(np.mean(judged > level))


def _random_halves(found: Scores, allowed: float, scale: str) -> dict[str, Any]:
    rng, half = np.random.default_rng(0), len(found) // 2
    rates = []
    for _ in range(SPLITS):
        order = rng.permutation(len(found))
        judged = _held_out(found[order[:half]], found[order[half:]], allowed, scale)
        rates += [] if judged is None else [judged[1]]
    alarms, rest = alarms_allowed(allowed, half, CONFIDENCE), len(found) - half
    # Without a threshold nothing is broken; of all splits 5 % at most may have a true rate above the budget.
    follows = betabinom.sf(np.floor(allowed * rest), rest, alarms + 1, half - alarms) if alarms >= 0 else 0.0
    return {
        "refused": SPLITS - len(rates),
        "mean_rate": round(float(np.mean(rates)), 4) if rates else None,
        "share_above": round(sum(rate > allowed for rate in rates) / SPLITS, 4),
        "share_above_by_theory": round(float(follows), 4),
    }


def _synthetic(count: int, group: int) -> list[NDArray[Any]]:
    """Empty scenes of every clutter, of seeds that no other group has."""
    frames = []
    for seed in range(group * count, (group + 1) * count):
        clutter = CLUTTERS[seed % len(CLUTTERS)]
        config = SceneConfig(width=SIDE, height=SIDE, frames=1, targets=0, seed=seed, clutter=clutter)
        frames.append(Scene(config)[0].frame)
    return frames


if __name__ == "__main__":
    main()
