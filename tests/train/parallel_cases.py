# SPDX-License-Identifier: Apache-2.0
"""Short trainings that `test_distributed.py` runs in one process, and this file as a program in several.

As a program: `parallel_cases.py FOLDER`, in two processes on the CPU that Fabric starts.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from pitviper.core.datasets import Sample
from pitviper.core.models import DetectorNetwork, create_model
from pitviper.core.synthetic import random_scene_frame
from pitviper.train import loop
from pitviper.train.config import FDEPConfig, SupervisedConfig
from pitviper.train.data.store import StoredFrame, make_frame
from pitviper.train.evolution.course import Course
from pitviper.train.evolution.phases import Phases
from pitviper.train.evolution.pools import LabelPools, PoolRule
from pitviper.train.evolution.reweighting import Reweighting
from pitviper.train.foundation import open_all_levels, open_vfm
from pitviper.train.point_config import POINT_RECIPES, PALConfig, PointConfig, SemanticPriorsConfig
from pitviper.train.points.initial import initial_mask
from pitviper.train.points.labels import centroid_points
from pitviper.train.points.source import PointFrame
from pitviper.train.processes import Processes
from pitviper.train.recipes.fdep import FDEPTask
from pitviper.train.recipes.points import PointTask
from pitviper.train.recipes.semantic_priors import SemanticPriorsTask
from pitviper.train.recipes.supervised import SupervisedTask
from pitviper.train.run import synthetic_frames


@dataclass(frozen=True)
class Case:
    """``norms``: "frozen" (running statistics are used and kept), "own" (of each part) or "global" (of the step).

    ``keep``: share of the pixels that count in the cross-entropy; below 1 each part has a limit of its own.
    ``side``: of the crops; statistics over the few pixels that a small one leaves in the deepest stage amplify
    rounding.
    """

    recipe: str
    norms: str
    keep: float
    side: int = 32
    model: str = "pit-n"


CASES = {
    "frozen": Case("supervised", "frozen", 1.0),
    "own": Case("supervised", "own", 0.1),
    "global": Case("supervised", "global", 1.0, side=64),
    "dropout": Case("supervised", "frozen", 1.0, model="acm"),
    "fdep-frozen": Case("fdep", "frozen", 1.0),
    "fdep-own": Case("fdep", "own", 0.1),
    "pal-frozen": Case("pal", "frozen", 1.0),
    "sp-frozen": Case("semantic_priors", "frozen", 1.0),
    "sp-own": Case("semantic_priors", "own", 0.5),
}


LR = 1e-3


class GlobalBatchNorm(nn.BatchNorm2d):
    """What torch's SyncBatchNorm computes, for the CPU, where torch has none."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        count = x.numel() // x.shape[1] * torch.distributed.get_world_size()
        mean = all_reduce(x.sum((0, 2, 3))) / count
        centred = x - mean.view(1, -1, 1, 1)
        variance = all_reduce(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


def convert(fabric: Fabric, task: nn.Module) -> nn.Module:
    """Stand-in for ``SyncBatchNorm.convert_sync_batchnorm``; one process needs none."""
    if fabric.world_size > 1:
        for module in task.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.__class__ = GlobalBatchNorm
    return task


def freeze(task: nn.Module) -> None:
    """Let batch norms use their running statistics in training too."""
    for module in task.modules():
        if isinstance(module, _BatchNorm):
            module.train = lambda mode=True, own=module: own  # type: ignore[method-assign,assignment]
            module.training = False


def train(fabric: Fabric, case: Case, folder: Path, accumulate: int = 1) -> dict[str, Tensor]:
    """Four steps of four crops; the states of the task and of the averaged network at the end."""
    common = {
        "model": case.model,
        "epochs": 1,
        "crops": ((1.0, case.side),),
        "batch": 4,
        "accumulate": accumulate,
        "keep": case.keep,
        "optimizer": "adamw",
        "lr": LR,
        "warmup": 0.0,
        "ema": 0.5,
    }
    torch.manual_seed(0)
    network = create_model(case.model)
    course: WatchedCourse | None = None
    if case.recipe in POINT_RECIPES:
        config, task, course = from_points(Processes(fabric), network, case, common)
    elif case.recipe == "fdep":
        config = FDEPConfig(vfm="tiny-random", **common)
        task = FDEPTask(network, open_vfm(config), config)
    else:
        config = SupervisedConfig(**common)
        task = SupervisedTask(network, config)
    run = loop.start(fabric, task, config, folder, sync_batchnorm=case.norms == "global", companion=course)
    if case.norms == "frozen":
        freeze(run.task)
    loop.fit(run, synthetic_frames(16, 3), validate=lambda _: {})
    state = {f"task/{k}": v for k, v in loop.unwrapped(run.task).state_dict().items()}
    if course:
        state |= {f"course/{k}": v for k, v in course.state_dict().items()}
        state |= {f"asked/{index}": v for index, v in enumerate(course.asked)}
    return state | {f"average/{k}": v for k, v in run.network.state_dict().items()}


class WatchedCourse(Course):
    """Keeps the averaged weights, running statistics among them, with which an epoch began."""

    def frames(self, run: loop.TrainingRun) -> Sequence[StoredFrame]:
        found = super().frames(run)
        self.asked = [value.clone() for value in run.average.state_dict().values()]
        return found


def point_frame(seed: int) -> PointFrame:
    """A synthetic scene of 64x64, the centres of its targets, and outlines around them."""
    frame, mask = random_scene_frame(seed, (64, 64))
    points = centroid_points(mask)
    found = initial_mask(frame, points, outline="level")
    name = f"scenes/{seed}"
    return PointFrame(
        make_frame(name, frame, mask & False), points, found, mask, Sample(name, Path(name), None)
    )


def from_points(
    processes: Processes, network: DetectorNetwork, case: Case, common: dict[str, Any]
) -> tuple[PointConfig, nn.Module, WatchedCourse]:
    """Two epochs with an update of the labels between them; of semantic priors with upper steps before it."""
    frames = [point_frame(seed) for seed in range(12)]
    phases = Phases(2, start=0.0, interval=0.5, upper_until=0.5)
    two = common | {"epochs": 2}
    if case.recipe == "pal":
        pal = PALConfig(**two)
        pools = LabelPools(frames, PoolRule(protect="points"), processes=processes)
        return pal, PointTask(network, pal), WatchedCourse(pools, phases, facts={})
    config = SemanticPriorsConfig(vfm="tiny-random", bilevel_steps=2, zero_start=0, **two)
    lower, upper = frames[:8], frames[8:]
    pools = LabelPools(lower, PoolRule(protect="points"), later=upper, processes=processes)
    clusters = {each.frame.name: index % 3 for index, each in enumerate(frames)}
    weighting = Reweighting(config, clusters, [replace(u.frame, mask=u.found.mask) for u in upper])
    vfm, _ = open_all_levels(config)
    task = SemanticPriorsTask(network, vfm, config)
    return config, task, WatchedCourse(pools, phases, facts={}, reweighting=weighting)


def main() -> None:
    torch.set_num_threads(1)
    loop._synchronised = convert
    folder = Path(sys.argv[1])
    fabric = Fabric(accelerator="cpu", devices=2)
    fabric.launch()
    for name, case in CASES.items():
        state = train(fabric, case, folder / name)
        tensors = {k: v.detach().clone().contiguous() for k, v in state.items()}
        save_file(tensors, folder / f"{name}-{fabric.global_rank}.safetensors")


if __name__ == "__main__":
    main()
