# SPDX-License-Identifier: Apache-2.0
"""What training costs under each condition: parameters, and CPU time of the real training loop, measured in turns."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from pitviper.core.datasets import Dataset
from pitviper.core.models import complexity, create_model
from pitviper.train import loop
from pitviper.train.config import FDEPConfig, SupervisedConfig, TrainingConfig
from pitviper.train.data.crops import crop_counts
from pitviper.train.data.store import StoredFrame, load_frames
from pitviper.train.foundation import open_vfm
from pitviper.train.recipes.fdep import FDEPTask
from pitviper.train.recipes.supervised import SupervisedTask
from pitviper.train.validate import Metrics

_FRAMES, _ROUNDS = 96, 3


class _Clock:
    """Observer that notes the process's CPU time when an epoch's steps are over, before anything is saved."""

    seconds = 0.0

    def epoch(self, epoch: int, losses: dict[str, float], lr: float, seconds: float) -> None:
        self.seconds = time.process_time()

    def validation(self, epoch: int, metrics: Metrics) -> None:
        return


def training_cost(
    configs: Mapping[str, TrainingConfig], train_sets: Sequence[Dataset]
) -> list[dict[str, Any]]:
    """One row a condition, for one model.

    The CPU time is the smallest of three short epochs over the first frames, conditions in turns, so that another
    job on the machine disturbs all alike; with one thread it is what a quiet core takes.

    Args:
        configs: Settings by condition; of the same model, data and crops.
        train_sets: What an epoch goes over.
    """
    frames = load_frames(train_sets)
    crops = sum(crop_counts(frames, 1))
    times: dict[str, list[float]] = {name: [] for name in configs}
    facts: dict[str, dict[str, int]] = {}
    for _ in range(_ROUNDS):
        for name, config in configs.items():
            seconds, facts[name] = _short_epoch(replace(config, epochs=1), frames[:_FRAMES])
            times[name].append(seconds)
    rows = []
    for name, config in configs.items():
        per_crop = min(times[name]) / sum(crop_counts(frames[:_FRAMES], 1))
        rows.append(
            {
                "model": config.model,
                "condition": name,
                **facts[name],
                "deployed": complexity(create_model(config.model)),
                "cpu_ms_per_crop": round(1e3 * per_crop, 3),
                "crops_per_epoch": crops,
                "cpu_s_per_epoch": round(per_crop * crops, 2),
            }
        )
    return rows


def _short_epoch(config: TrainingConfig, frames: list[StoredFrame]) -> tuple[float, dict[str, int]]:
    """CPU seconds of one epoch over few frames, and the parameters that it trained and held frozen."""
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    fabric.seed_everything(config.seed, verbose=False)
    task, frozen = _task(config)
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        run = loop.start(fabric, task, config, Path(folder))
        started = time.process_time()
        loop.fit(run, frames, validate=lambda network: {}, observers=[clock])
    counts = {"trained_parameters": sum(p.numel() for p in task.parameters()), "frozen_parameters": frozen}
    return clock.seconds - started, counts


def _task(config: TrainingConfig) -> tuple[nn.Module, int]:
    network = create_model(config.model)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if isinstance(config, FDEPConfig):
        vfm = open_vfm(config)
        return FDEPTask(network, vfm, config), sum(p.numel() for p in vfm.backbone.parameters())
    assert isinstance(config, SupervisedConfig)
    return SupervisedTask(network, config), 0
