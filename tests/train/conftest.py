# SPDX-License-Identifier: Apache-2.0
"""A tiny data set of synthetic frames and the settings of a run of seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from PIL import Image

from pitviper.core.synthetic import random_scene_frame
from pitviper.train import loop
from pitviper.train.config import SupervisedConfig
from pitviper.train.hardware import Hardware
from pitviper.train.observers import ConsoleObserver
from pitviper.train.run import train_supervised

CPU = Hardware(accelerator="cpu", devices="1", precision="32-true")


def write_dataset(root: Path, *, train: int = 10, val: int = 3, side: int = 72, seed: int = 0) -> Path:
    """``train`` and ``val`` synthetic 14-bit frames with masks and split lists in this project's layout."""
    for folder in ("images", "masks", "splits"):
        (root / folder).mkdir(parents=True)
    names = [f"{i:03}" for i in range(train + val)]
    for i, name in enumerate(names):
        frame, mask = random_scene_frame(1000 * seed + i, (side, side))
        Image.fromarray(frame).save(root / "images" / f"{name}.png")
        Image.fromarray(mask).convert("L").save(root / "masks" / f"{name}.png")
    (root / "splits/train.txt").write_text("\n".join(names[:train]))
    (root / "splits/val.txt").write_text("\n".join(names[train:]))
    return root


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 10 training and 3 validation frames of 72x72."""
    return write_dataset(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="session")
def config(tiny: Path) -> Callable[..., SupervisedConfig]:
    """Settings of a run of a few seconds; keyword arguments override them."""

    def make(**changes: object) -> SupervisedConfig:
        small: dict[str, object] = {
            "model": "pit-n",
            "data": (str(tiny),),
            "epochs": 3,
            "crops": ((1.0, 64),),
            "batch": 4,
            "validate_every": 2,
            "ema": 0.9,
        }
        return SupervisedConfig(**(small | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, config: Callable[..., SupervisedConfig]) -> Path:
    """Folder of a finished run of three epochs with the settings of ``config``; tests do not change it."""
    return train_supervised(config(), tmp_path_factory.mktemp("runs") / "whole", hardware=CPU)


@contextmanager
def interrupted_by(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, die: Callable[..., None]
) -> Iterator[None]:
    """Inside, ``die`` stands for ``owner.name``, and has to interrupt the run."""
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, die)
        with pytest.raises(KeyboardInterrupt):
            yield


@pytest.fixture
def killed_in_epoch(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[None]]:
    """Inside ``with killed_in_epoch(n):`` a run dies after the steps of epoch n and before its checkpoint."""

    @contextmanager
    def killed(number: int) -> Iterator[None]:
        real = ConsoleObserver.epoch

        def die(
            self: ConsoleObserver, epoch: int, losses: dict[str, float], lr: float, seconds: float
        ) -> None:
            real(self, epoch, losses, lr, seconds)
            if epoch == number:
                raise KeyboardInterrupt

        with interrupted_by(monkeypatch, ConsoleObserver, "epoch", die):
            yield

    return killed


@pytest.fixture
def killed_at_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], AbstractContextManager[None]]:
    """Inside ``with killed_at_step(epoch, step):`` a run dies after the checkpoint of that step, epochs from 0."""

    @contextmanager
    def killed(epoch: int, step: int) -> Iterator[None]:
        real = loop._save

        def die(run: loop.TrainingRun) -> None:
            real(run)
            if (run.epoch, run.step) == (epoch, step):
                raise KeyboardInterrupt

        with interrupted_by(monkeypatch, loop, "_save", die):
            yield

    return killed
