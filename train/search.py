# SPDX-License-Identifier: Apache-2.0
"""A search of the settings that weigh clusters of frames, by short runs that are judged on the val splits.

The budget is a number of runs, and every one is in the report. The default settings are run with several seeds, because
a setting that is better by less than what seeds differ by has not been shown to be better; the settings that the search
found are run again with the seeds that it did not see.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pitviper.core.atomic import write_whole
from pitviper.core.datasets import DatasetError
from pitviper.train.data.splits import open_splits
from pitviper.train.extras import library
from pitviper.train.foundation import FeatureCache
from pitviper.train.hardware import Hardware
from pitviper.train.point_config import SemanticPriorsConfig
from pitviper.train.points.source import count_point_frames
from pitviper.train.run import SUMMARY, train_points
from pitviper.train.search_report import Outcome, Searched, write_markdown
from pitviper.train.state import CHECKPOINT
from pitviper.train.validate import selection_score

SEARCH = "search.json"
REPORT = "search.md"
CHOSEN = "chosen.json"
_JOURNAL = "optuna.log"
_NAME = "reweighting"

_FORMS = ("unrolled", "gn", "none")
_CLUSTERS = (2, 4, 8, 16, 32, 64, 128)
_FEATURES = (8, 16, 32, 55)
_STEPS = (1, 2, 4, 8)
_ALPHA_LR = (1e-3, 1e-1)
_FRAMES_PER_CLUSTER = 2
_LEAST_RANDOM = 3

Train = Callable[..., Path]
Settings = dict[str, Any]


@dataclass(frozen=True)
class Budget:
    """How many runs a search may make.

    Attributes:
        runs: All of them.
        repeats: Seeds of the default settings, and of those that are chosen.
    """

    runs: int = 12
    repeats: int = 3

    def __post_init__(self) -> None:
        if self.repeats < 2 or self.runs < 2 * self.repeats:
            raise ValueError(
                f"{self.repeats} repeats need at least {max(4, 2 * self.repeats)} runs, and there are at least 2 "
                f"repeats: the defaults with every seed, one trial, and what is chosen with the other seeds; got "
                f"{self.runs} runs"
            )

    @property
    def trials(self) -> int:
        """Runs that look for better settings."""
        return self.runs - 2 * self.repeats + 1


class _Runs:
    """Runs of a search, each in its own folder; one that is finished is not made again."""

    def __init__(
        self, config: SemanticPriorsConfig, folder: Path, train: Train, options: dict[str, Any]
    ) -> None:
        self.config = config
        self.folder = folder
        self.train = train
        self.options = options
        self.outcomes: list[Outcome] = []

    def score(self, name: str, settings: Settings, *, seed: int) -> float:
        """Train, and return the score of the last epoch on the val splits.

        Raises:
            FloatingPointError: A loss or a weight is not finite.
        """
        folder = self.folder / "runs" / name
        config = replace(self.config, seed=seed, **settings)
        if not (folder / SUMMARY).is_file():
            print(
                f"search: run {name}, seed {seed}, {settings or 'default settings'}",
                file=sys.stderr,
                flush=True,
            )
            try:
                self.train(config, folder, resume="auto", **self.options)
            except FloatingPointError:
                (folder / CHECKPOINT).unlink(missing_ok=True)
                raise
        # Labels and moments of a run are many times its weights, and it will not go on.
        (folder / CHECKPOINT).unlink(missing_ok=True)
        summary = json.loads((folder / SUMMARY).read_text())
        score = selection_score(summary["history"][-1]["validation"])
        self.outcomes.append(Outcome(name, seed, settings, score))
        return score


def search_reweighting(
    config: SemanticPriorsConfig,
    folder: Path,
    *,
    budget: Budget | None = None,
    hardware: Hardware | None = None,
    resume: bool | str = False,
    download: bool = False,
    cache: FeatureCache | None = None,
    train: Train = train_points,
) -> Path:
    """Search clusters, descriptors, rate, steps and form of the bilevel weights.

    Args:
        config: Of every run; those five settings are the defaults that others are compared with.
        folder: Gets ``search.md`` (the report), ``search.json``, the runs without checkpoints, and ``chosen.json``:
            settings for ``--config``, none where nothing was better than the defaults beyond the noise of the seeds.
        budget: Runs and repeats.
        hardware: Of each run.
        resume: Whether to go on with the folder's search; "auto" does so when it holds one.
        download: Allows fetching the foundation model.
        cache: Where its features of whole frames are kept, for all runs.
        train: Makes a run.

    Returns:
        Path of the report.

    Raises:
        FileExistsError: The folder holds a search and ``resume`` is False.
        ValueError: ``resume`` with other settings or budget; or weights are off in ``config``.
        DatasetError: No val split to judge by; and as in ``train``.
        FloatingPointError: The default settings, or the chosen ones with another seed, do not train.
        ImportError: Optuna is not installed.
    """
    budget, hardware = budget or Budget(), _of_one_process(hardware or Hardware())
    optuna = library("optuna", need="a search needs Optuna", extra="tune")
    if config.bilevel == "none":
        raise ValueError("the default settings of a search weigh clusters; leave --bilevel none out")
    train_sets, val_sets = open_splits(config.data, unmasked=config.unmasked)
    if not val_sets:
        raise DatasetError("a search is judged by the val splits, and no --data has one")
    _begin(config, folder, budget, resume=resume)
    frames = count_point_frames(train_sets, config.points)
    runs = _Runs(config, folder, train, {"hardware": hardware, "download": download, "cache": cache})
    seeds = [config.seed + repeat for repeat in range(budget.repeats)]
    defaults = [runs.score(f"default-{seed}", {}, seed=seed) for seed in seeds]
    best = _search(optuna, runs, budget, frames=frames)
    again = [] if best is None else [runs.score(f"chosen-{seed}", best, seed=seed) for seed in seeds[1:]]
    found = Searched(config.epochs, tuple(runs.outcomes), best, tuple(defaults), tuple(again))
    chosen = best if best is not None and found.is_better else {}
    write_whole(folder / CHOSEN, f"{json.dumps(chosen, indent=1)}\n".encode())
    result = _plan(config, budget) | {"result": found.to_dict()}
    write_whole(folder / SEARCH, f"{json.dumps(result, indent=1)}\n".encode())
    write_whole(folder / REPORT, write_markdown(found, CHOSEN).encode())
    return folder / REPORT


def _of_one_process(hardware: Hardware) -> Hardware:
    if hardware.devices not in ("auto", "1") or hardware.nodes > 1:
        raise ValueError(
            f"a search makes its runs one after the other in one process, got --devices {hardware.devices} --nodes "
            f"{hardware.nodes}; leave both out"
        )
    return replace(hardware, devices="1")


def _begin(config: SemanticPriorsConfig, folder: Path, budget: Budget, *, resume: bool | str) -> None:
    """Write down what is searched, or see that it is what was written."""
    path = folder / SEARCH
    if not path.is_file():
        write_whole(path, f"{json.dumps(_plan(config, budget), indent=1)}\n".encode())
        return
    if not resume:
        raise FileExistsError(
            f"{folder} holds a search already; pass --resume to go on with it, or another --out"
        )
    stored, given = json.loads(path.read_text()), json.loads(json.dumps(_plan(config, budget)))
    before, now = (each["config"] | each["budget"] for each in (stored, given))
    changed = [f"{key} was {before.get(key)}, now {now[key]}" for key in now if before.get(key) != now[key]]
    if changed:
        raise ValueError(f"a resumed search keeps its settings: {'; '.join(changed)}")


def _plan(config: SemanticPriorsConfig, budget: Budget) -> dict[str, Any]:
    return {"config": config.to_dict(), "budget": asdict(budget)}


def _search(optuna: Any, runs: _Runs, budget: Budget, *, frames: int) -> Settings | None:
    """Settings of the best trial, or None where none could be trained."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = optuna.storages.journal.JournalFileBackend(str(runs.folder / _JOURNAL))
    study = optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name=_NAME,
        direction="maximize",
        load_if_exists=True,
    )
    states, seed = optuna.trial.TrialState, runs.config.seed
    known: dict[str, float] = {}
    for index in range(budget.trials):
        trial = _trial(optuna, study, index, budget=budget, seed=seed, frames=frames)
        key, name = json.dumps(trial.params, sort_keys=True), f"trial-{index}"
        value, state = None, states.FAIL
        if trial.state != states.FAIL:
            try:
                if key not in known:
                    known[key] = runs.score(name, trial.params, seed=seed)
                value, state = known[key], states.COMPLETE
            except FloatingPointError as error:
                print(f"search: {name} failed: {error}", file=sys.stderr, flush=True)
        if value is None:
            runs.outcomes.append(Outcome(name, seed, trial.params, None))
        if trial.state == states.RUNNING:
            study.tell(trial.number, value, state=state)
    done = study.get_trials(states=[states.COMPLETE])
    return dict(max(done, key=lambda each: (each.value, -each.number)).params) if done else None


def _trial(optuna: Any, study: Any, index: int, *, budget: Budget, seed: int, frames: int) -> Any:
    """The trial of this place: a finished one, one that was interrupted, or a new one."""
    whole = [each for each in study.get_trials() if _is_whole(each.params)]
    if index < len(whole):
        return whole[index]
    # The state of a sampler is not stored, so each trial has one of its own, from the trials before.
    study.sampler = optuna.samplers.TPESampler(
        seed=1_000_003 * seed + index, n_startup_trials=max(_LEAST_RANDOM, budget.trials // 3)
    )
    trial = study.ask()
    if trial.suggest_categorical("bilevel", _FORMS) != "none":
        fitting = [k for k in _CLUSTERS if k * _FRAMES_PER_CLUSTER <= frames] or [1]
        trial.suggest_categorical("clusters", fitting)
        trial.suggest_categorical("features", _FEATURES)
        trial.suggest_categorical("bilevel_steps", _STEPS)
        trial.suggest_float("alpha_lr", *_ALPHA_LR, log=True)
    return study.get_trials()[trial.number]


def _is_whole(params: Settings) -> bool:
    """Whether a trial was not cut off between two of its settings."""
    return params.get("bilevel") == "none" or "alpha_lr" in params
