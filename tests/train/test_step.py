# SPDX-License-Identifier: Apache-2.0
"""A step adds up its parts; one that is not finite stops the run at once, names its frames and saves nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from safetensors.torch import load_file
from torch import Tensor, nn

from pitviper.train import loop
from pitviper.train.config import SupervisedConfig, TrainingConfig
from pitviper.train.data.augment import AugmentConfig
from pitviper.train.data.store import StoredFrame
from pitviper.train.state import read_numbers
from pitviper.train.step import NotFinite, Part, take_step

PLAIN = AugmentConfig(warp=0.0, photometric=0.0)
MARK = 40.0
"""Value of a pixel that no other crop reaches."""


class Task(nn.Module):
    """A convolution with dropout whose loss, gradient or weights fail on the marked frame, once ``failure`` is set."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Conv2d(1, 1, 3, padding=1)
        self.dropout = nn.Dropout2d(dropout)
        self.failure = ""

    def forward(self, images: Tensor, masks: Tensor) -> dict[str, Tensor]:
        loss = (self.network(self.dropout(images)) - masks).square().mean()
        if self.failure and float(images.max()) >= MARK:
            zero = (self.network.weight * 0.0).sum()
            loss = {
                "loss is nan": loss * float("nan"),
                "loss is inf, its gradient is not": loss + float("inf"),
                "gradient is nan, the loss is not": loss + zero.sqrt(),
            }[self.failure]
        return {"loss": loss}


def frames(count: int = 8, *, marked: int = 5) -> list[StoredFrame]:
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        image = rng.standard_normal((16, 16)).astype(np.float16)
        mask = np.zeros((16, 16), np.bool_)
        if i == marked:
            image[4, 4], mask[4, 4:6] = MARK, True
        made.append(StoredFrame(f"set/{i:03}", image, mask, np.argwhere(mask).astype(np.int32)))
    return made


def settings(**changes: Any) -> SupervisedConfig:
    small = {"epochs": 3, "crops": ((1.0, 16),), "batch": 4, "augmentation": PLAIN, "optimizer": "adamw"}
    return SupervisedConfig(**small | {"lr": 1e-3, "ema": 0.5} | changes)


def started(
    config: TrainingConfig, folder: Path, *, resume: bool = False, dropout: float = 0.0
) -> tuple[loop.TrainingRun, Task]:
    fabric = Fabric(accelerator="cpu", devices=1)
    fabric.launch()
    task = Task(dropout)
    return loop.start(fabric, task, config, folder, resume=resume), task


class Arm:
    """Sets the failure after an epoch."""

    def __init__(self, task: Task, failure: str, after: int) -> None:
        self.task, self.failure, self.after = task, failure, after

    def epoch(self, epoch: int, losses: dict[str, float], lr: float, seconds: float) -> None:
        if epoch == self.after:
            self.task.failure = self.failure

    def validation(self, epoch: int, metrics: object) -> None:
        pass


def state_of(run: loop.TrainingRun) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in (run.task.state_dict() | run.average.state_dict(prefix="a.")).items()}


@pytest.mark.parametrize("accumulate", [1, 2, 4])
@pytest.mark.parametrize(
    "failure", ["loss is nan", "loss is inf, its gradient is not", "gradient is nan, the loss is not"]
)
def test_what_is_not_finite_stops_the_run(tmp_path: Path, failure: str, accumulate: int) -> None:
    run, task = started(settings(accumulate=accumulate), tmp_path)
    with pytest.raises(FloatingPointError) as stopped:
        loop.fit(run, frames(), validate=lambda _: {}, observers=[Arm(task, failure, after=2)])
    message = str(stopped.value)
    assert "in step " in message
    assert " of epoch 3 " in message, "at once, not at the end of the epoch"
    assert "set/005 (from " in message
    assert f"to {MARK:.3g}, mean" in message
    assert "2 target pixels)" in message
    assert "checkpoint.safetensors is from before" in message
    assert "\n" not in message
    assert "the crops that fail by themselves, 1 of 4: set/005" in message
    assert message.count("set/") == 1, "frames that are sound by themselves are not accused"
    assert read_numbers(tmp_path / "checkpoint.safetensors")["epoch"] == 2
    kept = load_file(tmp_path / "checkpoint.safetensors")
    assert all(bool(torch.isfinite(value).all()) for value in kept.values())
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"]


def test_a_run_that_was_stopped_goes_on_without_the_frame_that_stopped_it(tmp_path: Path) -> None:
    run, task = started(settings(), tmp_path)
    with pytest.raises(FloatingPointError):
        loop.fit(run, frames(), validate=lambda _: {}, observers=[Arm(task, "loss is nan", after=1)])
    again, _ = started(settings(), tmp_path, resume=True)
    assert again.epoch == 1
    loop.fit(again, frames(marked=-1), validate=lambda _: {})
    assert [record["epoch"] for record in again.history] == [1, 2, 3]


@pytest.mark.parametrize("failure", ["loss is nan", "gradient is nan, the loss is not"])
def test_a_step_that_is_not_finite_changes_nothing(tmp_path: Path, failure: str) -> None:
    run, task = started(settings(), tmp_path)
    sound = Part(("a",), torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16))
    take_step(run.fabric, run.task, run.optimizer, [sound], clip=1.0)
    before, moments = state_of(run), run.optimizer.state_dict()["state"]
    moments = {k: {n: v.clone() for n, v in own.items()} for k, own in moments.items()}
    task.failure = failure
    marked = Part(("b",), torch.full((1, 1, 16, 16), MARK), torch.zeros(1, 1, 16, 16))
    with pytest.raises(NotFinite, match=r"b \(from 40 to 40"):
        take_step(run.fabric, run.task, run.optimizer, [marked, sound], clip=1.0)
    assert all(torch.equal(before[k], v) for k, v in state_of(run).items())
    for index, own in run.optimizer.state_dict()["state"].items():
        assert all(torch.equal(moments[index][name], value) for name, value in own.items())
    assert all(p.grad is None for p in run.task.parameters())


def test_pixels_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    run, _ = started(settings(), tmp_path)
    broken = frames()
    broken[3].image[0, :7] = np.nan
    with pytest.raises(
        FloatingPointError, match=r"set/003 \(7 pixels are not finite\).* holds no checkpoint"
    ):
        loop.fit(run, broken, validate=lambda _: {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("checkpoint_every", [0, 1])
def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path, checkpoint_every: int) -> None:
    """As after a step too long: the loss and the gradient were finite, what they led to is not."""
    run, task = started(settings(checkpoint_every=checkpoint_every), tmp_path)
    real = run.average.update_parameters

    def overflow(module: nn.Module) -> None:
        with torch.no_grad():
            task.network.weight[0, 0, 1, 1] = float("inf")
        real(module)

    run.average.update_parameters = overflow  # type: ignore[method-assign]
    with pytest.raises(
        FloatingPointError, match=r"network\.weight of the network is not finite after step 1"
    ):
        loop.fit(run, frames(4), validate=lambda _: {})
    assert list(tmp_path.iterdir()) == []


def test_parts_add_up_to_the_whole(tmp_path: Path) -> None:
    """Losses that are means give the same step in one part and in four, up to the rounding of four sums."""
    rng = torch.Generator().manual_seed(0)
    images, masks = torch.randn(8, 1, 16, 16, generator=rng), torch.rand(8, 1, 16, 16, generator=rng)
    found = []
    for size in (8, 2):
        run, _ = started(settings(), tmp_path / str(size))
        parts = [Part(("x",) * size, images[i : i + size], masks[i : i + size]) for i in range(0, 8, size)]
        losses = take_step(run.fabric, run.task, run.optimizer, parts, clip=1.0)
        found.append((float(losses["loss"]), state_of(run)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    for key, value in found[0][1].items():
        torch.testing.assert_close(found[1][1][key], value, rtol=0, atol=1e-7)


def test_only_the_last_part_exchanges_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = started(settings(), tmp_path)
    asked: list[bool] = []
    real = Fabric.no_backward_sync

    def remember(self: Fabric, module: Any, enabled: bool = True) -> Any:
        asked.append(enabled)
        return real(self, module, enabled=enabled)

    monkeypatch.setattr(Fabric, "no_backward_sync", remember)
    part = Part(("a",), torch.ones(1, 1, 16, 16), torch.zeros(1, 1, 16, 16))
    take_step(run.fabric, run.task, run.optimizer, [part] * 3, clip=1.0)
    assert asked == [True, True, False]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_goes_on_inside_an_epoch(tmp_path: Path, accumulate: int) -> None:
    """Stopped between two checkpoints of an epoch: the end, the history and the state are those of a whole run.

    So are the masks of its dropout, though torch's generator starts elsewhere.
    """
    config = settings(batch=2, checkpoint_every=2, accumulate=accumulate)
    whole, _ = started(config, tmp_path / "whole", dropout=0.5)
    loop.fit(whole, frames(18), validate=lambda _: {})
    run, _ = started(config, tmp_path / "killed", dropout=0.5)
    real = run.average.update_parameters
    calls = []

    def die(module: nn.Module) -> None:
        real(module)
        calls.append(module)
        if len(calls) == 9 + 5:
            raise KeyboardInterrupt

    run.average.update_parameters = die  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        loop.fit(run, frames(18), validate=lambda _: {})
    numbers = read_numbers(tmp_path / "killed/checkpoint.safetensors")
    assert (numbers["epoch"], numbers["step"]) == (1, 4)
    again, _ = started(config, tmp_path / "killed", resume=True, dropout=0.5)
    loop.fit(again, frames(18), validate=lambda _: {})
    assert again.history == whole.history
    first, second = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("whole", "killed"))
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


def test_a_gradient_that_overflows_at_every_scale_stops_16_mixed() -> None:
    """Its scaler leaves steps out that overflow: a gradient that is never finite would train nothing in silence."""
    scaled = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu"))
    fabric = Fabric(accelerator="cpu", devices=1, plugins=[scaled])
    fabric.launch()
    made = Task(0.0)
    task, optimizer = fabric.setup(made, torch.optim.SGD(made.parameters(), lr=0.1))
    made.failure = "gradient is nan, the loss is not"
    before = {key: value.clone() for key, value in made.state_dict().items()}
    marked = Part(("b",), torch.full((1, 1, 16, 16), MARK), torch.zeros(1, 1, 16, 16))
    for _ in range(16):  # from 65536 to 1
        take_step(fabric, task, optimizer, [marked], clip=1.0)
    with pytest.raises(NotFinite, match=r"overflows at a scale of 0\.5 still, with b; take --precision bf16"):
        take_step(fabric, task, optimizer, [marked], clip=1.0)
    assert all(torch.equal(before[key], value) for key, value in made.state_dict().items())
