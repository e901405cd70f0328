# SPDX-License-Identifier: Apache-2.0
"""One run of ``prior`` from settings to a vision transformer that ``fdep`` takes as ``--vfm-weights``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pitviper.core.atomic import write_whole
from pitviper.core.datasets import Dataset, DatasetError, require_own_names
from pitviper.core.manifest import file_record
from pitviper.core.vfm.adapter import IMAGENET_MEAN, IMAGENET_STD
from pitviper.core.vfm.architecture import HEADS, Architecture
from pitviper.core.vfm.hub import header, read_header
from pitviper.train import loop
from pitviper.train.config import FDEPConfig, PriorConfig
from pitviper.train.data.augment import AugmentConfig
from pitviper.train.data.crops import CropDataset
from pitviper.train.data.splits import val_splits
from pitviper.train.data.store import StoredFrame
from pitviper.train.data.unlabelled import frames_sha256, load_unlabelled, open_frames
from pitviper.train.foundation import RANDOM, describe_vfm, open_vfm
from pitviper.train.hardware import Hardware, launch
from pitviper.train.observers import ConsoleObserver
from pitviper.train.recipes.prior import PriorTask, grid_positions
from pitviper.train.run import describe_set, save_weights, synthetic_frames
from pitviper.train.validate import Metrics

WEIGHTS = "prior.safetensors"
SUMMARY = "prior.json"


def train_prior(
    config: PriorConfig,
    folder: Path,
    *,
    hardware: Hardware | None = None,
    resume: bool | str = False,
    download: bool = False,
) -> Path:
    """Train without masks, and leave ``prior.safetensors`` (the averaged transformer) and ``prior.json`` in ``folder``.

    Args:
        config: Settings.
        folder: Run folder.
        hardware: Where it runs.
        resume: Go on with the run in the folder; "auto": if it holds one, else start one.
        download: Allow fetching the model to adapt from the hub into its cache.

    Returns:
        The file of weights.

    Raises:
        DatasetError: No data, or a broken file.
        ValueError, FileExistsError: As in ``loop.start``; a width without a usual number of heads.
        ValueError, FileNotFoundError, ImportError: No such model to adapt; as in ``foundation.open_vfm``.
    """
    if not config.data and not config.synthetic:
        raise DatasetError("no frames to learn from: pass --data FOLDER (several times) or --synthetic N")
    hardware = hardware or Hardware()
    fabric = launch(hardware, config.seed)
    train_sets = [open_frames(root) for root in config.data]
    require_own_names(train_sets)
    made = [_without_mask(frame) for frame in synthetic_frames(config.synthetic, config.seed)]
    frames = load_unlabelled(train_sets) + made
    val_sets = val_splits(config.data)
    held_out = {dataset.name: load_unlabelled([dataset]) for dataset in val_sets}
    task, about = _make_task(config, download=download)
    told = header(mean=task.mean.flatten().tolist(), std=task.std.flatten().tolist(), timm=_timm_name(config))
    facts = {"vfm": about, "frames_sha256": frames_sha256(frames)}
    run = loop.start(fabric, task, config, folder, resume=resume, facts=facts, compiled=hardware.compile)
    if fabric.is_global_zero:
        print(
            f"{len(frames)} frames, held out: {', '.join(held_out) or 'none'}; run folder {folder}",
            file=sys.stderr,
            flush=True,
        )

    def evaluate(_: nn.Module) -> Metrics:
        losses = held_out_losses(run.average.module, held_out) if fabric.is_global_zero else {}
        broadcast: Metrics = fabric.broadcast(losses)
        return broadcast

    observers = [_Console(config.epochs)] if fabric.is_global_zero else []
    loop.fit(run, frames, validate=evaluate, observers=observers, workers=hardware.workers)
    if fabric.is_global_zero:
        _keep(run, told, train_sets, val_sets)
    return folder / WEIGHTS


def new_transformer(config: PriorConfig, *, grid: int) -> nn.Module:
    """A vision transformer of timm with random weights and fixed positions (sines and cosines of row and column).

    Args:
        config: ``width``, ``depth`` and ``patch``.
        grid: Side of the position grid in patches; other sizes of image interpolate it.

    Raises:
        ValueError: The width has no usual number of attention heads, so a file of it could not be recognised.
        ImportError: timm cannot be imported.
    """
    if config.width not in HEADS:
        raise ValueError(f"width must be one of {', '.join(map(str, HEADS))}, got {config.width}")
    import timm

    architecture = Architecture(
        timm_name="vit_small_patch16_224",
        width=config.width,
        depth=config.depth,
        heads=HEADS[config.width],
        patch_size=config.patch,
        registers=0,
        class_token=True,
        grid=grid,
        hidden=4 * config.width,
        positions_of_prefix=False,
        layer_scale=False,
        qkv_bias=True,
    )
    settings = architecture.timm_settings()
    network: Any = timm.create_model(
        architecture.timm_name, pretrained=False, num_classes=0, dynamic_img_size=True, **settings
    )
    network.pos_embed.data.copy_(grid_positions(grid, config.width)[None])
    network.pos_embed.requires_grad_(False)
    result: nn.Module = network
    return result


@torch.no_grad()
def held_out_losses(task: nn.Module, sets: Mapping[str, Sequence[StoredFrame]]) -> Metrics:
    """Losses on one crop of each frame, the same crops, hidden patches and points at every call.

    Args:
        task: A ``PriorTask``, left in the mode that it was in.
        sets: Frames by the name of their set.

    Returns:
        Per set: ``loss``, ``hidden`` and ``planted``, means over the frames.
    """
    assert isinstance(task, PriorTask)
    training, config = task.training, task.config
    device = task.mean.device
    plain = AugmentConfig(warp=0.0, photometric=0.0)
    task.eval()
    results: Metrics = {}
    for name, frames in sets.items():
        crops = CropDataset(
            frames, size=config.crop_at(config.epochs - 1), target_share=0.0, augmentation=plain, seed=0
        )
        totals: dict[str, float] = {}
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(0)
            for start in range(0, len(frames), config.batch):
                images = [crops[0, i][0] for i in range(start, min(start + config.batch, len(frames)))]
                batch: Tensor = torch.stack(images).to(device)
                for key, value in task(batch, batch).items():
                    totals[key] = totals.get(key, 0.0) + float(value) * len(images)
        results[name] = {key: total / len(frames) for key, total in totals.items()}
    task.train(training)
    return results


def _make_task(config: PriorConfig, *, download: bool) -> tuple[PriorTask, dict[str, Any]]:
    """The task around a new transformer or the one to adapt, and what is said of it."""
    if config.vfm or config.vfm_weights:
        chosen = FDEPConfig(vfm=config.vfm, vfm_weights=config.vfm_weights, seed=config.seed)
        vfm = open_vfm(chosen, download=download)
        network: Any = getattr(vfm.backbone, "model", None)
        if network is None:
            raise ValueError(f"{config.vfm} cannot be adapted; name a model of timm")
        network.requires_grad_(True)
        task = PriorTask(network, config, mean=vfm.mean.flatten().tolist(), std=vfm.std.flatten().tolist())
        return task, describe_vfm(chosen, vfm)
    network = new_transformer(config, grid=config.crops[0][1] // config.patch)
    task = PriorTask(network, config, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    return task, {"name": "new", "dim": config.width, "depth": config.depth, "patch_size": config.patch}


def _timm_name(config: PriorConfig) -> str | None:
    """Of a model that was named, or that the file it came from names; None for one that its shapes tell."""
    if config.vfm and config.vfm != RANDOM:
        return config.vfm.removeprefix(f"{RANDOM}:")
    return read_header(config.vfm_weights).get("timm") if config.vfm_weights else None


def _keep(
    run: loop.TrainingRun, told: dict[str, str], train_sets: Sequence[Dataset], val_sets: Sequence[Dataset]
) -> None:
    """Write the averaged transformer, then the summary, which marks the run as finished."""
    weights = run.folder / WEIGHTS
    save_weights(run.network, weights, **told)
    summary = {
        "recipe": run.config.recipe,
        "weights": {"file": WEIGHTS, **file_record(weights.read_bytes())},
        "config": run.config.to_dict(),
        "data": [describe_set(d) for d in train_sets],
        "validation": [describe_set(d) for d in val_sets],
        "history": run.history,
        **run.facts,
    }
    write_whole(run.folder / SUMMARY, (json.dumps(summary, indent=1) + "\n").encode())


def _without_mask(frame: StoredFrame) -> StoredFrame:
    return replace(frame, mask=frame.mask & False, targets=frame.targets[:0])


class _Console(ConsoleObserver):
    def validation(self, epoch: int, metrics: Metrics) -> None:
        for name, values in metrics.items():
            parts = "  ".join(f"{key} {value:.4f}" for key, value in values.items())
            print(f"  held out, {name}: {parts}", file=sys.stderr, flush=True)
