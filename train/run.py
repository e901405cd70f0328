# SPDX-License-Identifier: Apache-2.0
"""One run of any recipe from settings to a run folder: data, network, loop, logs, the last and the best weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, load_file, save
from torch import nn

from pitviper.core.atomic import write_whole
from pitviper.core.datasets import Dataset, DatasetError
from pitviper.core.manifest import WEIGHTS, Package, file_record, read_package
from pitviper.core.models import DetectorNetwork, create_model
from pitviper.core.vfm import CachedVFM, FrozenVFM
from pitviper.core.weights import load_model
from pitviper.train import loop
from pitviper.train.config import DetectorConfig, FDEPConfig, SupervisedConfig, TrainingConfig, stored_config
from pitviper.train.data.mining import mine_clutter, repeat_missed
from pitviper.train.data.splits import open_splits, require_known
from pitviper.train.data.store import SYNTHETIC_SIDE, StoredFrame, load_frames, make_frame
from pitviper.train.evolution.start import start_course
from pitviper.train.foundation import FeatureCache, cached, describe_vfm, open_all_levels, open_vfm
from pitviper.train.hardware import Hardware, launch
from pitviper.train.observers import ConsoleObserver, TensorBoardObserver
from pitviper.train.point_config import PointConfig, SemanticPriorsConfig, SPReferenceConfig
from pitviper.train.processes import Processes
from pitviper.train.recipes.fdep import FDEPTask
from pitviper.train.recipes.points import PointTask
from pitviper.train.recipes.semantic_priors import SemanticPriorsTask
from pitviper.train.recipes.sp_reference import SPReferenceTask
from pitviper.train.recipes.supervised import SupervisedTask
from pitviper.train.remarks import say, say_data, say_offsets
from pitviper.train.state import load_module
from pitviper.train.validate import Metrics, selection_score, validate

BEST = "best.safetensors"
LAST = "last.safetensors"
SUMMARY = "run.json"
EVOLUTION = "evolution.png"
EVOLUTION_MOVING = "evolution-moving.png"


def train_supervised(
    config: SupervisedConfig, folder: Path, *, hardware: Hardware | None = None, resume: bool | str = False
) -> Path:
    """Train, and leave ``last.safetensors``, ``best.safetensors`` (by the val splits) and ``run.json`` in ``folder``.

    Raises:
        DatasetError: No data, or a broken file.
        ValueError, FileExistsError: As in ``loop.start``.
    """
    _require_data(config)
    return _train(
        config, folder, lambda network: SupervisedTask(network, config), hardware=hardware, resume=resume
    )


def train_fdep(
    config: FDEPConfig,
    folder: Path,
    *,
    hardware: Hardware | None = None,
    resume: bool | str = False,
    download: bool = False,
    cache: FeatureCache | None = None,
) -> Path:
    """Train both branches, and leave what ``train_supervised`` leaves: the weights are those of the light branch.

    ``download`` allows fetching the foundation model's weights from the hub; its features are kept in ``cache``.

    Raises:
        DatasetError, ValueError, FileExistsError: As in ``train_supervised``.
        ValueError, FileNotFoundError, ImportError: No such foundation model; as in ``foundation.open_vfm``.
        ValueError: ``cache`` in a run whose crops do not come again; as in ``foundation.cached``.
        CacheFull: The cache has reached its size.
    """
    _require_data(config)
    vfm = open_vfm(config, download=download)
    if cache is not None:
        vfm = cached(vfm, config, cache)
    return _train(
        config,
        folder,
        lambda network: FDEPTask(network, vfm, config),
        hardware=hardware,
        resume=resume,
        facts={"vfm": describe_vfm(config, vfm)},
    )


def train_points(
    config: PointConfig,
    folder: Path,
    *,
    hardware: Hardware | None = None,
    resume: bool | str = False,
    download: bool = False,
    cache: FeatureCache | None = None,
) -> Path:
    """Train from points with labels that evolve, and leave what ``train_supervised`` leaves.

    The weights of ``semantic_priors`` are those of the student. ``download`` allows it to fetch its foundation model;
    the features of whole frames, which every update of the labels asks for, are kept in ``cache``.

    Raises:
        DatasetError, ValueError, FileExistsError: As in ``train_supervised`` and ``evolution.start.start_course``.
        ValueError, FileNotFoundError, ImportError: No such foundation model; as in ``foundation.open_vfm``.
        CacheFull: The cache has reached its size.
    """
    _require_data(config)
    if isinstance(config, SemanticPriorsConfig):
        vfm, about = open_all_levels(config, download=download)
        frame_vfm = vfm if cache is None else CachedVFM(vfm, cache.folder, limit_gib=cache.limit_gib)
        make_task, facts = _with_semantics(vfm, frame_vfm, config), {"vfm": about}
    else:
        make_task, facts = (lambda network: PointTask(network, config)), {}
    return _train(config, folder, make_task, hardware=hardware, resume=resume, facts=facts)


def _with_semantics(
    vfm: FrozenVFM, frame_vfm: FrozenVFM, config: SemanticPriorsConfig
) -> Callable[[DetectorNetwork], nn.Module]:
    kind = SPReferenceTask if isinstance(config, SPReferenceConfig) else SemanticPriorsTask
    return lambda network: kind(network, vfm, config, frame_vfm=frame_vfm)


def _require_data(config: TrainingConfig) -> None:
    if not config.data and not config.synthetic:
        raise DatasetError(
            "no training data: pass --data FOLDER (several times for several sets) or --synthetic N"
        )


def _train(
    config: DetectorConfig,
    folder: Path,
    make_task: Callable[[DetectorNetwork], nn.Module],
    *,
    hardware: Hardware | None,
    resume: bool | str,
    facts: dict[str, Any] | None = None,
) -> Path:
    hardware = hardware or Hardware()
    if hardware.compile and not isinstance(config, SupervisedConfig):
        raise ValueError(f"{config.recipe} does not run with --compile, which is for supervised and prior")
    fabric = launch(hardware, config.seed)
    train_sets, val_sets = open_splits(config.data, unmasked=config.unmasked)
    require_known(config.upright, train_sets)
    course = None
    if isinstance(config, PointConfig):
        course = start_course(config, train_sets, folder, processes=Processes(fabric))
        frames = course.pools.training_frames()
    else:
        frames = load_frames(train_sets) + synthetic_frames(config.synthetic, config.seed)
    held_out = {d.name: load_frames([d]) for d in val_sets}
    facts = {
        **(facts or {}),
        "data": [describe_set(d) for d in train_sets],
        "validation": [describe_set(d) for d in val_sets],
    }
    if config.mine:
        packages = [read_package(path) for path in config.mine]
        frames = mine_clutter(
            frames,
            _networks(packages),
            threshold=config.mine_threshold,
            beside=bool(config.mine_beside),
        )
        facts["mine"] = _records(packages)
        if fabric.is_global_zero and not any(len(frame.clutter) for frame in frames):
            say("--mine found no clutter: no frame is without targets, or nothing in those is taken for one")
    if config.missed:
        packages = [read_package(path) for path in config.missed]
        known = len(frames)
        frames = repeat_missed(frames, _networks(packages), times=config.missed_times)
        facts["missed"] = _records(packages)
        if fabric.is_global_zero:
            say(f"{len(frames) - known} more frames an epoch, for missed targets")
    network = create_model(config.model)
    network.to(memory_format=torch.channels_last)
    if config.init:
        facts["init"] = start_from(Path(config.init), network)
    run = loop.start(
        fabric,
        make_task(network),
        config,
        folder,
        resume=resume,
        facts=facts,
        sync_batchnorm=hardware.sync_batchnorm,
        compiled=hardware.compile,
        companion=course,
    )
    observers: list[loop.Observer] = []
    if fabric.is_global_zero:
        say_data(frames, train_sets, held_out)
        if course is None:
            say_offsets(frames, config.upright)
        say(f"run folder {folder}")
        observers = [
            ConsoleObserver(config.epochs),
            TensorBoardObserver(folder / "tensorboard", run, held_out),
        ]

    def evaluate(averaged: nn.Module) -> Metrics:
        assert isinstance(averaged, DetectorNetwork)
        metrics = validate(averaged, held_out) if fabric.is_global_zero else {}
        broadcast: Metrics = fabric.broadcast(metrics)
        return broadcast

    loop.fit(
        run, frames, validate=evaluate, observers=observers, workers=hardware.workers, on_validation=keep_best
    )
    if fabric.is_global_zero:
        save_weights(run.network, folder / LAST)
        if course is not None:
            write_whole(folder / EVOLUTION, course.snapshots.to_png())
            write_whole(folder / EVOLUTION_MOVING, course.snapshots.to_animation())
        summary = {
            "recipe": config.recipe,
            "config": config.to_dict(),
            "history": run.history,
            **run.facts,
        }
        write_summary(folder, summary)
    return folder


def _networks(packages: Sequence[Package]) -> list[DetectorNetwork]:
    """Their networks. A network is made with random weights first, and the run's own must not depend on that."""
    with torch.random.fork_rng(devices=[]):
        return [load_model(package) for package in packages]


def _records(packages: Sequence[Package]) -> list[dict[str, Any]]:
    return [{"weights": p.path.name, **file_record(p.read(WEIGHTS))} for p in packages]


def start_from(path: Path, network: DetectorNetwork) -> dict[str, Any]:
    """Copy weights in training form into a network, and say which they were.

    Args:
        path: Weights package (folder or zip), or a ``.safetensors`` file that a run left.
        network: Of the same model.

    Raises:
        ValueError: The weights are of another network (``PackageError`` when the package itself is at fault).
        FileNotFoundError: There is no such file.
    """
    if path.suffix == ".safetensors":
        if not path.is_file():
            raise FileNotFoundError(f"--init {path}: no such file")
        content = path.read_bytes()
    else:
        content = read_package(path).read(WEIGHTS)
    try:
        network.load_state_dict(load(content))
    except SafetensorError as error:
        raise ValueError(f"--init {path} is damaged or no safetensors file: {error}") from error
    except RuntimeError as error:
        # Torch names every tensor, a line each; the first that differs is enough to know the network by.
        first = str(error).splitlines()[1].strip()
        raise ValueError(
            f"--init {path} holds the weights of another network than --model trains: {first[:200]}"
        ) from error
    return {"weights": path.name, **file_record(content)}


def keep_best(run: loop.TrainingRun, metrics: Metrics) -> None:
    """Save the averaged weights when no earlier evaluation of this run scored as high on the val splits."""
    if not metrics:
        return
    score = selection_score(metrics)
    earlier = [selection_score(r["validation"]) for r in run.history if r.get("validation")]
    if all(score > value for value in earlier):
        save_weights(run.network, run.folder / BEST, epoch=str(run.epoch))


def synthetic_frames(count: int, seed: int) -> list[StoredFrame]:
    """``count`` single frames of the synthetic generator, standardised, with exact masks."""
    if not count:
        return []
    from pitviper.core.synthetic import random_scene_frame

    shape = (SYNTHETIC_SIDE, SYNTHETIC_SIDE)
    made = (random_scene_frame(seed * 1_000_003 + i, shape) for i in range(count))
    return [make_frame(f"synthetic/{i}", frame, mask) for i, (frame, mask) in enumerate(made)]


def load_run(folder: Path, which: str) -> tuple[DetectorNetwork, dict[str, Any]]:
    """The network that a finished run kept, and the run's summary; ``which`` is ``"best"`` or ``"last"``."""
    summary = _read_summary(folder)
    weights = folder / (BEST if which == "best" else LAST)
    if not weights.is_file():
        raise FileNotFoundError(
            f"{folder} holds no {weights.name}: without a val split no epoch is chosen; "
            "take the last one with --weights last"
        )
    network = create_model(summary["config"]["model"])
    network.load_state_dict(load_file(weights))
    return network.eval(), summary


def load_main_branch(folder: Path) -> tuple[DetectorNetwork, dict[str, Any]]:
    """The main branch (of ``fdep``) or the teacher (of ``semantic_priors``) of a finished run, and the run's summary.

    Its weights are those after the last epoch, averaged.

    It comes from the checkpoint, since the kept weights hold the light branch alone, and needs the foundation model.

    Raises:
        ValueError: A run of another recipe, or the foundation model's file is not the one it was trained with.
        FileNotFoundError: The run is not finished, or the checkpoint or the foundation model is gone.
    """
    summary = _read_summary(folder)
    config = stored_config(summary)
    if isinstance(config, SemanticPriorsConfig):
        vfm, about = open_all_levels(config)
    elif isinstance(config, FDEPConfig):
        vfm = open_vfm(config)
        about = describe_vfm(config, vfm)
    else:
        raise ValueError(
            f"{folder} is a run of {config.recipe!r}; only fdep and semantic_priors have a main branch"
        )
    found, trained = about.get("sha256"), summary["vfm"].get("sha256")
    if found != trained:
        raise ValueError(f"{config.vfm_weights} has SHA-256 {found}; the run was trained with {trained}")
    network = create_model(config.model)
    task: FDEPTask | SemanticPriorsTask
    if isinstance(config, SemanticPriorsConfig):
        task = SemanticPriorsTask(network, vfm, config)
    else:
        task = FDEPTask(network, vfm, config)
    load_module(folder, "average", task, inner="module.")
    return task.main_branch().eval(), summary


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Write ``run.json``, which marks a run as finished and so appears whole or not at all."""
    write_whole(folder / SUMMARY, f"{json.dumps(summary, indent=1)}\n".encode())


def _read_summary(folder: Path) -> dict[str, Any]:
    path = folder / SUMMARY
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no run folder {folder}")
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no {SUMMARY}: the run is not finished; resume it with --resume"
        )
    summary: dict[str, Any] = json.loads(path.read_text())
    return summary


def describe_set(dataset: Dataset) -> dict[str, Any]:
    """Name, split, number of frames and hash of a data set, for summaries and manifests."""
    return {
        "name": dataset.name,
        "split": dataset.split,
        "frames": len(dataset),
        "split_sha256": dataset.split_sha256,
    }


def save_weights(network: nn.Module, path: Path, **metadata: str) -> None:
    """Write weights in training form as safetensors, whole or not at all; ``metadata`` goes into the header.

    Raises:
        OSError: They cannot be written; what the file held before is kept.
    """
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    of_training = ("samf", "scam", "vfm", "main_statistics", "teacher_statistics")
    foreign = [name for name in tensors if name.startswith(of_training)]
    assert not foreign, f"kept weights are the plain network's, not {foreign[:3]}"
    try:
        write_whole(path, save(tensors, metadata=metadata))
    except OSError as error:
        raise OSError(
            error.errno,
            f"weights cannot be written ({error.strerror or error}); what was saved before is kept. Make room, then go "
            "on with --resume",
            str(path),
        ) from error
