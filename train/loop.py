# SPDX-License-Identifier: Apache-2.0
"""The training loop of every recipe: a task gives the loss, Lightning Fabric gives devices, precision and processes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from pitviper.train.config import TrainingConfig, recipe_of
from pitviper.train.data.crops import CropDataset, EpochSampler, crop_counts
from pitviper.train.data.store import StoredFrame
from pitviper.train.optimizer import make_optimizer
from pitviper.train.state import load_checkpoint, save_checkpoint
from pitviper.train.validate import Metrics

Batch = tuple[Tensor, Tensor]


class Observer(Protocol):
    """What is told about a run while it goes: progress bars, logs, TensorBoard."""

    def epoch(self, epoch: int, losses: dict[str, float], lr: float, seconds: float) -> None:
        """One epoch ended; losses are means over its steps."""

    def validation(self, epoch: int, metrics: Metrics) -> None:
        """The averaged weights were evaluated; metrics by data set."""


@dataclass
class TrainingRun:
    """Everything that goes on from step to step."""

    fabric: Fabric
    task: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    config: TrainingConfig
    folder: Path
    history: list[dict[str, Any]]
    facts: dict[str, Any]
    epoch: int = 0

    @property
    def network(self) -> nn.Module:
        """The averaged network: the one that is evaluated and kept."""
        network = self.average.module.network
        assert isinstance(network, nn.Module)
        return network


def start(
    fabric: Fabric,
    task: nn.Module,
    config: TrainingConfig,
    folder: Path,
    *,
    resume: bool = False,
    facts: dict[str, Any] | None = None,
) -> TrainingRun:
    """Make the optimiser and the averaged weights, or take them from the folder's checkpoint.

    ``facts`` are what a run depends on beside its settings, such as the hash of a file; resuming needs the same.

    Raises:
        FileExistsError: The folder holds a checkpoint and ``resume`` is False.
        ValueError: ``resume`` with another recipe, settings or facts than the checkpoint's; the message names them.
    """
    if not resume and (folder / "checkpoint.safetensors").exists():
        raise FileExistsError(
            f"{folder} holds a run already; pass --resume to go on with it, or another --out"
        )
    mean = get_ema_multi_avg_fn(config.ema)  # type: ignore[no-untyped-call]
    average = AveragedModel(task, multi_avg_fn=mean, use_buffers=True)
    average = average.to(fabric.device)
    optimizer = make_optimizer(task, config)
    run = TrainingRun(fabric, task, average, optimizer, config, folder, [], facts or {})
    if resume:
        numbers = load_checkpoint(
            folder,
            modules={"task": task, "average": average},
            optimizer=optimizer,
            check=lambda numbers: _require_same(numbers, config, run.facts),
        )
        if numbers is None:
            raise FileNotFoundError(f"{folder} holds no checkpoint to resume from; leave --resume out")
        run.epoch, run.history = numbers["epoch"], numbers["history"]
    wrapped, optimizer = fabric.setup(task, optimizer)
    run.task, run.optimizer = wrapped, optimizer
    return run


def fit(
    run: TrainingRun,
    frames: Sequence[StoredFrame],
    *,
    validate: Callable[[nn.Module], Metrics],
    observers: Iterable[Observer] = (),
    workers: int = 0,
    on_validation: Callable[[TrainingRun, Metrics], None] | None = None,
) -> None:
    """Train from ``run.epoch`` to the end of the config, with a checkpoint after every epoch."""
    config, fabric = run.config, run.fabric
    observers = tuple(observers)
    while run.epoch < config.epochs:
        started = time.perf_counter()
        losses = _one_epoch(run, _loader(run, frames, workers))
        run.epoch += 1
        record: dict[str, Any] = {"epoch": run.epoch, **losses}
        if fabric.is_global_zero:
            for observer in observers:
                observer.epoch(
                    run.epoch, losses, learning_rate(config, _progress(run)), time.perf_counter() - started
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
        if fabric.is_global_zero:
            _save(run)
        fabric.barrier()


def learning_rate(config: TrainingConfig, progress: float) -> float:
    """Linear warm-up, then a cosine to 1 % of the peak; ``progress`` in [0, 1]."""
    if progress < config.warmup:
        return config.lr * max(progress / config.warmup, 1e-3)
    along = (progress - config.warmup) / max(1.0 - config.warmup, 1e-9)
    return config.lr * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(along, 1.0))))


def _progress(run: TrainingRun, step: float = 0.0) -> float:
    return (run.epoch + step) / run.config.epochs


def _one_epoch(run: TrainingRun, loader: DataLoader[Batch]) -> dict[str, float]:
    run.task.train()
    _seed_dropout(run)
    totals: dict[str, Tensor] = {}
    steps = len(loader)
    for step, (images, masks) in enumerate(loader):
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate(run.config, _progress(run, step / steps))
        parts = run.task(images.contiguous(memory_format=torch.channels_last), masks)
        run.fabric.backward(parts["loss"])
        run.fabric.clip_gradients(run.task, run.optimizer, max_norm=run.config.clip, error_if_nonfinite=False)
        run.optimizer.step()
        run.optimizer.zero_grad(set_to_none=True)
        run.average.update_parameters(_unwrapped(run.task))
        for name, value in parts.items():
            totals[name] = totals.get(name, torch.zeros((), device=value.device)) + value.detach()
    result = {name: _mean(run.fabric, value / steps) for name, value in totals.items()}
    if not math.isfinite(result["loss"]):
        raise FloatingPointError(
            f"the loss became {result['loss']} in epoch {run.epoch + 1}; lower --lr, or look for a broken frame. "
            f"The checkpoint in {run.folder} is from the epoch before"
        )
    return result


def _seed_dropout(run: TrainingRun) -> None:
    """Start torch's own randomness anew from (seed, epoch, rank), so that a resumed run repeats it."""
    entropy = (run.config.seed, run.epoch, run.fabric.global_rank)
    torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))


def _mean(fabric: Fabric, value: Tensor) -> float:
    reduced = fabric.all_reduce(value)
    assert isinstance(reduced, Tensor)
    return float(reduced)


def _loader(run: TrainingRun, frames: Sequence[StoredFrame], workers: int) -> DataLoader[Batch]:
    config, fabric = run.config, run.fabric
    if config.batch % fabric.world_size:
        raise ValueError(f"batch {config.batch} does not divide into {fabric.world_size} processes")
    crops = CropDataset(
        frames,
        size=config.crop_at(run.epoch),
        target_share=config.target_share,
        augmentation=config.augmentation_at(run.epoch),
        seed=config.seed,
    )
    sampler = EpochSampler(
        crop_counts(frames, config.crops_per_frame),
        seed=config.seed,
        rank=fabric.global_rank,
        world=fabric.world_size,
    )
    sampler.epoch = run.epoch
    batch = config.batch // fabric.world_size
    if len(sampler) < batch:
        raise ValueError(f"{len(sampler)} crops an epoch do not fill a batch of {batch}; lower --batch")
    loader: DataLoader[Batch] = DataLoader(
        crops, batch_size=batch, sampler=sampler, num_workers=workers, drop_last=True
    )
    return fabric.setup_dataloaders(loader, use_distributed_sampler=False)  # type: ignore[return-value]


def _unwrapped(task: nn.Module) -> nn.Module:
    inner = getattr(task, "module", task)
    return inner.module if isinstance(inner, nn.parallel.DistributedDataParallel) else inner


def _save(run: TrainingRun) -> None:
    numbers = {"epoch": run.epoch, "history": run.history, "recipe": run.config.recipe}
    numbers |= {"config": run.config.to_dict(), "facts": run.facts}
    modules = {"task": _unwrapped(run.task), "average": run.average}
    optimizer = getattr(run.optimizer, "optimizer", run.optimizer)
    save_checkpoint(run.folder, modules=modules, optimizer=optimizer, numbers=numbers)


def _require_same(numbers: dict[str, Any], config: TrainingConfig, facts: dict[str, Any]) -> None:
    if recipe_of(numbers) != config.recipe:
        raise ValueError(f"the run is one of {recipe_of(numbers)!r}, not of {config.recipe!r}")
    saved, given = type(config).from_dict(numbers["config"]).to_dict(), config.to_dict()
    changed = [f"{key} was {saved[key]}, now {given[key]}" for key in given if saved[key] != given[key]]
    if changed:
        raise ValueError(f"a resumed run keeps its settings: {'; '.join(changed)}")
    if (trained := numbers.get("facts", {})) != facts:
        raise ValueError(f"the run was started with {trained}, now there is {facts}")
