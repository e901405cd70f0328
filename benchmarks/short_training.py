# SPDX-License-Identifier: Apache-2.0
"""One short training for comparisons: on the train splits, judged by the val splits after the last epoch."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from lightning_fabric import Fabric

from pitviper.core.models import DetectorNetwork
from pitviper.kernels import standardise
from pitviper.train import loop
from pitviper.train.config import SupervisedConfig
from pitviper.train.data.splits import open_splits
from pitviper.train.data.store import Normalise, StoredFrame, load_frames
from pitviper.train.recipes.supervised import SupervisedTask
from pitviper.train.validate import Metrics, validate


def train_short(
    network: DetectorNetwork,
    config: SupervisedConfig,
    data: Sequence[str],
    *,
    normalise: Normalise = standardise,
) -> tuple[Metrics, float]:
    """Metrics by data set and the mean loss of the last epoch; ``config.data`` is ignored in favour of ``data``."""
    train_sets, val_sets = open_splits(tuple(data))
    frames = load_frames(train_sets, normalise=normalise)
    return train_on(
        network, config, frames, {d.name: load_frames([d], normalise=normalise) for d in val_sets}
    )


def train_on(
    network: DetectorNetwork,
    config: SupervisedConfig,
    frames: Sequence[StoredFrame],
    held_out: Mapping[str, Sequence[StoredFrame]],
) -> tuple[Metrics, float]:
    """Metrics of the held-out frames by name and the mean loss of the last epoch."""
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    fabric.seed_everything(config.seed, verbose=False)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with tempfile.TemporaryDirectory() as folder:
        run = loop.start(fabric, SupervisedTask(network, config), config, Path(folder))
        loop.fit(run, frames, validate=lambda averaged: validate(averaged, held_out))
    last = run.history[-1]
    return last["validation"], last["loss"]
