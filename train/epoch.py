# SPDX-License-Identifier: Apache-2.0
"""One pass over the data: which crops make a step, the learning rate of each, and where a run may be resumed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from pitviper.train.config import TrainingConfig
from pitviper.train.data.crops import CropDataset, EpochSampler, crop_counts
from pitviper.train.data.store import StoredFrame
from pitviper.train.step import NotFinite, Part, require_finite, take_step, unwrapped

if TYPE_CHECKING:
    from pitviper.train.loop import TrainingRun


def learning_rate(config: TrainingConfig, progress: float) -> float:
    """Linear warm-up, then a cosine to 1 % of the peak; ``progress`` in [0, 1]."""
    if progress < config.warmup:
        return config.lr * max(progress / config.warmup, 1e-3)
    along = (progress - config.warmup) / max(1.0 - config.warmup, 1e-9)
    return config.lr * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(along, 1.0))))


def progress(run: TrainingRun, step: float = 0.0) -> float:
    """Share of the run that is over, with ``step`` of the epoch that goes on; in [0, 1]."""
    return (run.epoch + step) / run.config.epochs


def one_epoch(
    run: TrainingRun, frames: Sequence[StoredFrame], *, workers: int, checkpoint: Callable[[], None]
) -> dict[str, float]:
    """Go on from ``run.step`` to the end of the epoch.

    Args:
        run: What is trained.
        frames: To crop from.
        workers: Loader processes.
        checkpoint: Called where the settings ask for a checkpoint inside the epoch.

    Returns:
        Means of the losses over the steps of the epoch and over all processes.

    Raises:
        FloatingPointError: The loss or the gradient of a step is not finite, and the step changed nothing; the message
            names its frames. Or a weight is not finite, where it was to be saved.
        ValueError: The batch does not suit the data or the processes; as in ``EpochSampler``.
    """
    config, fabric = run.config, run.fabric
    run.task.train()
    sampler = _sampler(run, frames)
    parts = _parts(run, frames, sampler, workers)
    totals = {name: torch.tensor(value, device=fabric.device) for name, value in run.totals.items()}
    while run.step < sampler.steps:
        for group in run.optimizer.param_groups:
            group["lr"] = learning_rate(config, progress(run, run.step / sampler.steps))
        taken = list(islice(parts, config.accumulate))
        try:
            losses = take_step(fabric, run.task, run.optimizer, taken, clip=config.clip)
        except NotFinite as error:
            raise FloatingPointError(
                f"the loss or its gradient is not finite in step {run.step + 1} of epoch {run.epoch + 1} ({error}); "
                f"lower --lr, or correct or leave out the frames. {run.what_is_kept()}"
            ) from None
        run.average.update_parameters(unwrapped(run.task))
        run.step += 1
        for name, value in losses.items():
            totals[name] = totals.get(name, torch.zeros((), device=value.device)) + value
        if _at_checkpoint(run) or run.step == sampler.steps:
            _require_finite(run)
        if _at_checkpoint(run) and run.step < sampler.steps:
            run.totals = {name: _mean(fabric, value) for name, value in totals.items()}
            checkpoint()
    return {name: _mean(fabric, value / sampler.steps) for name, value in totals.items()}


def _at_checkpoint(run: TrainingRun) -> bool:
    """Whether a checkpoint inside the epoch comes before the next step, so that a run may start there."""
    every = run.config.checkpoint_every
    return every > 0 and run.step > 0 and run.step % every == 0


def _require_finite(run: TrainingRun) -> None:
    try:
        require_finite({"network": unwrapped(run.task), "average": run.average})
    except FloatingPointError as error:
        raise FloatingPointError(
            f"{error} after step {run.step} of epoch {run.epoch + 1}; lower --lr. {run.what_is_kept()}"
        ) from None


def _mean(fabric: Fabric, value: Tensor) -> float:
    reduced = fabric.all_reduce(value)
    assert isinstance(reduced, Tensor)
    return float(reduced)


def _sampler(run: TrainingRun, frames: Sequence[StoredFrame]) -> EpochSampler:
    config, fabric = run.config, run.fabric
    sampler = EpochSampler(
        crop_counts(frames, config.crops_per_frame),
        batch=config.batch,
        seed=config.seed,
        rank=fabric.global_rank,
        world=fabric.world_size,
        accumulate=config.accumulate,
    )
    sampler.epoch, sampler.first_step = run.epoch, run.step
    return sampler


def _parts(
    run: TrainingRun, frames: Sequence[StoredFrame], sampler: EpochSampler, workers: int
) -> Iterator[Part]:
    config = run.config
    crops = CropDataset(
        frames,
        size=config.crop_at(run.epoch),
        target_share=config.target_share,
        augmentation=config.augmentation_at(run.epoch),
        seed=config.seed,
        upright=config.upright,
        plant=config.plant_at(run.epoch),
    )
    loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(crops, batch_sampler=sampler, num_workers=workers)
    ready = run.fabric.setup_dataloaders(loader, use_distributed_sampler=False)
    for taken, (keys, (images, masks)) in enumerate(zip(sampler, ready, strict=True)):
        names = tuple(frames[index].name for _, index in keys)
        extra = run.companion.extra(names) if run.companion else {}
        step, turn = divmod(taken, config.accumulate)
        # Of all parts of the step, whichever process takes it: the n-th draws the same dropout, also after a resume.
        nth = sampler.rank + turn * sampler.world
        entropy = [config.seed, run.epoch, sampler.first_step + step, nth]
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        yield Part(names, images, masks, {key: value.to(images.device) for key, value in extra.items()}, seed)
