# SPDX-License-Identifier: Apache-2.0
"""Settings of an adaptation, and the training run that follows from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pitviper.train.config import SupervisedConfig

_SYNTHETIC = (32, 256)
_MOST_REPEATS = 8


@dataclass(frozen=True)
class AdaptSettings:
    """What is adapted, to what, and how far.

    Attributes:
        material: Folder that ``pitviper adapt`` gathered.
        package: Weights package to adapt.
        out: Where the report goes, and ``package`` when it is not refused.
        data: Data sets with masks: their train splits are mixed in, their val splits guard what is known already.
        steps: Optimiser steps.
        batch: Crops of a step.
        lr: Peak learning rate of AdamW; a third of that of the recipes.
        crop: Side of the crops in pixels.
        tolerance: How far (IoU + Pd) / 2 of a guarding set may fall.
        chance: Probability below which a change for the worse is taken for more than chance.
        seed: Of crops, synthetic frames and the judges.
        keep_work: Leave frames, labels and checkpoints in ``out/work``.
    """

    material: Path
    package: Path
    out: Path
    data: tuple[str, ...] = ()
    steps: int = 300
    batch: int = 16
    lr: float = 5e-4
    crop: int = 128
    tolerance: float = 0.03
    chance: float = 0.1
    seed: int = 0
    keep_work: bool = False

    def __post_init__(self) -> None:
        if min(self.steps, self.batch) < 1 or self.crop < 32:
            raise ValueError(
                f"steps and batch must be at least 1 and crop at least 32, got {self.steps}, {self.batch} and "
                f"{self.crop}"
            )
        if not self.lr > 0.0 or self.tolerance < 0.0 or not 0.0 < self.chance < 0.5:
            raise ValueError(
                f"lr must be above 0, tolerance at least 0 and chance between 0 and 0.5, got {self.lr}, "
                f"{self.tolerance} and {self.chance}"
            )


def training_config(
    settings: AdaptSettings, model: str, *, stream: Path, own: int, others: int, upright: Collection[str] = ()
) -> tuple[SupervisedConfig, int]:
    """The run that mixes the frames of the stream with half as many synthetic scenes, and other data; and its steps.

    Crops lie over the targets, and over whatever else the package sees. The steps are as many as whole epochs come
    nearest to those of the settings, and one epoch at least.

    Args:
        settings: Of the adaptation.
        model: Architecture of the package.
        stream: Data set of the stream's own frames.
        own: Crops of it in an epoch.
        others: Crops of the other data sets in an epoch.
        upright: Data sets that the package was trained with upright; those among the other ones stay so.
    """
    synthetic = min(max(own // 2, _SYNTHETIC[0]), _SYNTHETIC[1])
    repeats = min(max(1, round(others / own)), _MOST_REPEATS)
    crops = repeats * own + synthetic + others
    each = max(1, crops // min(settings.batch, crops))
    epochs = max(1, round(settings.steps / each))
    config = SupervisedConfig(
        data=(*(str(stream),) * repeats, *settings.data),
        synthetic=synthetic,
        epochs=epochs,
        crops=((1.0, settings.crop),),
        batch=min(settings.batch, crops),
        lr=settings.lr,
        warmup=0.1,
        # The average of a short run must not be that of its first steps.
        ema=max(0.0, 1.0 - 10.0 / (epochs * each)),
        validate_every=10**6,
        seed=settings.seed,
        model=model,
        upright=tuple(
            name for name in (Path(each).resolve().name for each in settings.data) if name in upright
        ),
        mine=(str(settings.package),),
        mine_beside=1,
        init=str(settings.package),
    )
    return config, epochs * each


def trained_upright(training: Mapping[str, Any]) -> tuple[str, ...]:
    """Data sets whose crops were upright when the package of this ``training`` was trained, before any adaptation."""
    while "before" in training:
        training = training["before"]
    return tuple(training.get("config", {}).get("upright", ()))
