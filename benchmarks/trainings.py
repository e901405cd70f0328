# SPDX-License-Identifier: Apache-2.0
"""Many trainings that differ in one thing: a run folder each, finished ones kept, killed ones going on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from pitviper.core.datasets import Dataset
from pitviper.core.evaluation import evaluate
from pitviper.core.metrics.hse import HSE_THRESHOLDS, SWEEP_THRESHOLDS
from pitviper.core.models import DetectorNetwork
from pitviper.train.config import SupervisedConfig, TrainingConfig
from pitviper.train.data.augment import AugmentConfig
from pitviper.train.run import load_run
from pitviper.train.validate import predictor

METRICS = (
    "images", "targets", "iou", "niou", "pd", "fa_per_mpix", "false_objects_per_frame", "f1", "target_f1", "hiou",
    "ap", "hse", "hse_pix", "hse_tgt",
)  # fmt: skip
_CURVES = ("iou", "niou", "target_f1", "pd", "fa_per_mpix")
_MOVED = ("data", "vfm_weights")
_AUGMENTATION = "augmentation."
Judgements = dict[str, dict[str, Any]]
"""Metrics by branch and set."""


SHARED = frozenset(f.name for f in fields(SupervisedConfig))
"""Settings that full supervision has too: the same in every condition of a comparison with it."""


@dataclass(frozen=True)
class Cell:
    """One training: a model under a condition with a seed."""

    model: str
    condition: str
    seed: int

    @property
    def folder(self) -> str:
        """Name of its run folder."""
        return f"{self.model}-{self.condition.replace('/', ',')}-{self.seed}"


def changed_settings(
    texts: Iterable[str], config: type[TrainingConfig], *, fixed: Collection[str]
) -> dict[str, Any]:
    """``SETTING=VALUE`` texts as settings of a recipe: numbers, words and levels, but for those that are ``fixed``.

    ``augmentation.NAME=VALUE`` changes one of the augmentation.

    Raises:
        SystemExit: Another setting, or no value.
    """
    default = config()
    own = {
        f.name: type(getattr(default, f.name))
        for f in fields(config)
        if f.name not in fixed
        and (f.name == "levels" or isinstance(getattr(default, f.name), int | float | str))
    }
    if "augmentation" not in fixed:
        own |= {f"{_AUGMENTATION}{f.name}": float for f in fields(AugmentConfig)}
    changes: dict[str, Any] = {}
    for text in texts:
        key, _, value = text.partition("=")
        if key not in own or not value:
            raise SystemExit(
                f"{text!r} is no SETTING=VALUE of {config.recipe}; settings are {', '.join(sorted(own))}"
            )
        if key == "levels":
            changes[key] = tuple(int(level) for level in value.split("/"))
        elif key.startswith(_AUGMENTATION):
            augmentation = changes.get("augmentation", default.augmentation)
            changes["augmentation"] = replace(augmentation, **{key.removeprefix(_AUGMENTATION): float(value)})
        else:
            changes[key] = own[key](value)
    return changes


def finished(
    folder: Path,
    config: TrainingConfig,
    *,
    train: Callable[[bool], None],
    judge_branches: Callable[[], Judgements],
) -> tuple[dict[str, Any], Judgements]:
    """Summary and judgements of a run, trained and judged as far as its folder does not hold that already.

    The processor time of a training that was not interrupted is kept in ``cost.json``.

    Args:
        folder: Run folder.
        config: What the run has to be.
        train: Starts it, or goes on with the checkpoint in the folder (True).
        judge_branches: Judges the finished run.

    Raises:
        SystemExit: The folder holds another run.
    """
    if not (folder / "run.json").is_file():
        resume, started = any(folder.glob("checkpoint*.safetensors")), time.process_time()
        train(resume)
        if not resume:
            _write(folder / "cost.json", {"cpu_s": round(time.process_time() - started, 1)})
    summary = load_run(folder, "last")[1]
    _require_same(folder, summary, config)
    if not (folder / "evaluation.json").is_file():
        _write(folder / "evaluation.json", judge_branches())
    judged: Judgements = json.loads((folder / "evaluation.json").read_text())
    return summary, judged


def judge(network: DetectorNetwork, val_sets: Iterable[Dataset]) -> dict[str, Any]:
    """Metrics at threshold 0.5 by set, the curves that HSE integrates (at its thresholds, 4 digits), and by class."""
    judged = {}
    for dataset in val_sets:
        found = evaluate(predictor(network), dataset.samples, draws=0, max_events=0)
        plain = found.metrics.to_dict(curves=True)
        sweep, steps = plain["sweep"], [SWEEP_THRESHOLDS.index(t) for t in HSE_THRESHOLDS]
        curves = {
            key: None if sweep[key] is None else [round(sweep[key][i], 4) for i in steps] for key in _CURVES
        }
        classes = {name: result.to_dict() for name, result in found.classes.items()}
        judged[dataset.name] = {**{key: plain[key] for key in METRICS}, "curves": curves, "classes": classes}
    return judged


def facts(config: TrainingConfig, sets: Iterable[Dataset]) -> dict[str, Any]:
    """What all runs of a benchmark share: settings and data."""
    return {
        "hse_thresholds": list(HSE_THRESHOLDS),
        "settings": {k: v for k, v in config.to_dict().items() if k not in ("model", "data", "seed")},
        "data": [
            {"name": d.name, "split": d.split, "frames": len(d), "split_sha256": d.split_sha256} for d in sets
        ],
    }


def _require_same(folder: Path, summary: dict[str, Any], config: TrainingConfig) -> None:
    """A kept run has to be the one that is asked for; data folders and weights may have moved."""
    found, asked = type(config).from_dict(summary["config"]).to_dict(), config.to_dict()
    other = [
        f"{k} {found[k]} instead of {asked[k]}" for k in asked if found[k] != asked[k] and k not in _MOVED
    ]
    names = [Path(d).name for d in asked["data"]]
    if other or [Path(d).name for d in summary["config"]["data"]] != names:
        raise SystemExit(
            f"{folder} holds another run ({'; '.join(other) or 'other data'}); use another --work"
        )


def _write(path: Path, content: Any) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content))
    os.replace(partial, path)
