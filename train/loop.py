# SPDX-License-Identifier: Apache-2.0
"""The training loop of every recipe: a task gives the loss, Lightning Fabric gives devices, precision and processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pitviper.train.config import TrainingConfig, by_name, recipe_of
from pitviper.train.data.store import StoredFrame
from pitviper.train.epoch import learning_rate, one_epoch, progress
from pitviper.train.moving_average import warmed_average
from pitviper.train.optimizer import make_optimizer
from pitviper.train.state import CHECKPOINT, Stateful, load_checkpoint, save_checkpoint
from pitviper.train.step import unwrapped
from pitviper.train.validate import Metrics

AUTO = "auto"
"""Of ``resume``: go on with the run that a folder holds, or start one."""


class Observer(Protocol):
    """What is told about a run while it goes: progress bars, logs, TensorBoard."""

    def epoch(self, epoch: int, losses: dict[str, float], lr: float, seconds: float) -> None:
        """One epoch ended; losses are means over its steps."""

    def validation(self, epoch: int, metrics: Metrics) -> None:
        """The averaged weights were evaluated; metrics by data set."""


class Companion(Stateful, Protocol):
    """What learns beside the weights, such as labels or weights of samples. Its state is part of each checkpoint."""

    facts: dict[str, Any]
    """What it depends on beside the settings; a resumed run has the same."""

    def frames(self, run: TrainingRun) -> Sequence[StoredFrame]:
        """Those of the epoch that begins, where ``run.step`` is 0, or goes on; it may change them where it begins."""

    def extra(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Further arguments of the task for a part with crops of these frames."""

    def after_epoch(self, run: TrainingRun) -> dict[str, Any]:
        """Act between two epochs, before the validation; the history gets what is returned."""


@dataclass
class TrainingRun:
    """Everything that goes on from step to step.

    ``epoch`` counts the epochs that are over, ``step`` the steps taken of the next one, and ``totals`` are the sums of
    their losses at its last checkpoint.
    """

    fabric: Fabric
    task: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    config: TrainingConfig
    folder: Path
    history: list[dict[str, Any]]
    facts: dict[str, Any]
    epoch: int = 0
    step: int = 0
    totals: dict[str, float] = field(default_factory=dict)
    companion: Companion | None = None

    def states(self) -> dict[str, Stateful]:
        """What a checkpoint keeps beside the optimiser."""
        kept: dict[str, Stateful] = {"task": unwrapped(self.task), "average": self.average}
        return {**kept, **({"companion": self.companion} if self.companion else {})}

    @property
    def network(self) -> nn.Module:
        """The averaged network: the one that is evaluated and kept."""
        network = self.average.module.network
        assert isinstance(network, nn.Module)
        return network

    def what_is_kept(self) -> str:
        """For messages: whether there is a checkpoint to go on from."""
        path = self.folder / CHECKPOINT
        return f"{path} is from before" if path.exists() else f"{self.folder} holds no checkpoint yet"


def start(
    fabric: Fabric,
    task: nn.Module,
    config: TrainingConfig,
    folder: Path,
    *,
    resume: bool | str = False,
    facts: dict[str, Any] | None = None,
    sync_batchnorm: bool = False,
    compiled: bool = False,
    companion: Companion | None = None,
) -> TrainingRun:
    """Make the optimiser and the averaged weights, or take them from the folder's checkpoint.

    Args:
        fabric: Launched.
        task: On any device; ``start`` moves it.
        config: Settings of the run.
        folder: Run folder.
        resume: Whether to go on with the folder's run; ``"auto"`` does so when it holds a checkpoint and starts one
            when it holds none.
        facts: What a run depends on beside its settings, such as the hash of a file; resuming needs the same.
        sync_batchnorm: Take the statistics of batch norms over all processes; on a GPU only, as torch has it.
        compiled: Let ``torch.compile`` fuse the task's forward and backward.
        companion: What learns beside the weights; its facts are the run's too.

    Raises:
        FileExistsError: The folder holds a checkpoint and ``resume`` is False.
        FileNotFoundError: ``resume`` is True and the folder holds no checkpoint.
        ValueError: ``resume`` with another recipe, settings or facts than the checkpoint's; the message names them.
            Or ``sync_batchnorm`` without a GPU.
    """
    if resume == AUTO:
        resume = bool(fabric.broadcast((folder / CHECKPOINT).exists()))
    if not resume and (folder / CHECKPOINT).exists():
        raise FileExistsError(
            f"{folder} holds a run already; pass --resume to go on with it, or another --out"
        )
    average = AveragedModel(task, multi_avg_fn=warmed_average(config.ema), use_buffers=True)
    average = average.to(fabric.device)
    # Before the optimiser, whose state is read from a checkpoint to where its parameters are.
    task = fabric.to_device(task)
    optimizer = make_optimizer(task, config)
    # Another precision is another training, though nothing in the settings says so.
    precision = {"precision": str(fabric.strategy.precision.precision)}
    facts = {**(facts or {}), **(companion.facts if companion else {}), **precision}
    run = TrainingRun(fabric, task, average, optimizer, config, folder, [], facts, companion=companion)
    if resume:
        numbers = load_checkpoint(
            folder,
            modules=run.states(),
            optimizer=optimizer,
            check=lambda numbers: _require_same(numbers, config, run.facts),
        )
        if numbers is None:
            raise FileNotFoundError(f"{folder} holds no checkpoint to resume from; leave --resume out")
        run.epoch, run.history = numbers["epoch"], numbers["history"]
        run.step, run.totals = numbers.get("step", 0), numbers.get("totals", {})
    if sync_batchnorm:
        task = _synchronised(fabric, task)
    if compiled:
        task.compile()
    wrapped, optimizer = fabric.setup(task, optimizer)
    run.task, run.optimizer = wrapped, optimizer
    return run


def _synchronised(fabric: Fabric, task: nn.Module) -> nn.Module:
    if fabric.device.type == "cpu":
        raise ValueError(
            "synchronised batch norms need GPUs: torch has none for the CPU; leave --sync-batchnorm out"
        )
    converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(task)  # type: ignore[no-untyped-call]
    return converted


def fit(
    run: TrainingRun,
    frames: Sequence[StoredFrame],
    *,
    validate: Callable[[nn.Module], Metrics],
    observers: Iterable[Observer] = (),
    workers: int = 0,
    on_validation: Callable[[TrainingRun, Metrics], None] | None = None,
) -> None:
    """Train from where ``run`` is to the end of its settings, with a checkpoint after every epoch.

    ``frames`` are those of every epoch, unless the run has a companion, which chooses them.

    Raises:
        FloatingPointError: A loss, a gradient or a weight is not finite. The run stops before it is saved; the message
            names the frames of the step.
        ValueError: The batch does not suit the data or the processes; as in ``EpochSampler``.
        OSError: A checkpoint could not be written; the one before is kept.
    """
    config, fabric = run.config, run.fabric
    observers = tuple(observers)
    while run.epoch < config.epochs:
        started = time.perf_counter()
        chosen = run.companion.frames(run) if run.companion else frames
        losses = one_epoch(run, chosen, workers=workers, checkpoint=lambda: _save(run))
        learned = run.companion.after_epoch(run) if run.companion else {}
        run.epoch, run.step, run.totals = run.epoch + 1, 0, {}
        record: dict[str, Any] = {"epoch": run.epoch, **losses}
        if learned:
            record["companion"] = learned
        if fabric.is_global_zero:
            for observer in observers:
                observer.epoch(
                    run.epoch, losses, learning_rate(config, progress(run)), time.perf_counter() - started
                )
        if run.epoch in (1, config.epochs) or run.epoch % config.validate_every == 0:
            metrics = validate(run.network)
            record["validation"] = metrics
            if fabric.is_global_zero:
                for observer in observers:
                    observer.validation(run.epoch, metrics)
                if on_validation is not None:
                    on_validation(run, metrics)
        run.history.append(record)
        _save(run)
        fabric.barrier()


def _save(run: TrainingRun) -> None:
    if not run.fabric.is_global_zero:
        return
    numbers = {"epoch": run.epoch, "history": run.history, "recipe": run.config.recipe}
    numbers |= {"config": run.config.to_dict(), "facts": run.facts}
    if run.step:
        numbers |= {"step": run.step, "totals": run.totals}
    optimizer = getattr(run.optimizer, "optimizer", run.optimizer)
    save_checkpoint(run.folder, modules=run.states(), optimizer=optimizer, numbers=numbers)


def _require_same(numbers: dict[str, Any], config: TrainingConfig, facts: dict[str, Any]) -> None:
    if recipe_of(numbers) != config.recipe:
        raise ValueError(f"the run is one of {recipe_of(numbers)!r}, not of {config.recipe!r}")
    # Files and folders by name, wherever they lie now: the facts hold the hashes of files and of the lists of frames.
    saved, given = (by_name(each.to_dict()) for each in (type(config).from_dict(numbers["config"]), config))
    changed = [f"{key} was {saved[key]}, now {given[key]}" for key in given if saved[key] != given[key]]
    if changed:
        raise ValueError(f"a resumed run keeps its settings: {'; '.join(changed)}")
    trained = numbers.get("facts", {})
    for name in sorted(trained.keys() | facts.keys()):
        if trained.get(name) != facts.get(name):
            raise ValueError(
                f"the run was started with {name} {trained.get(name)}, now there is {facts.get(name)}; put back what "
                "there was, or start a new run (--init takes the weights)"
            )
