# SPDX-License-Identifier: Apache-2.0
"""From a finished run to a weights package: full evaluation on the val splits, operating points, manifest."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitviper.core.datasets import Dataset, read_sample
from pitviper.core.manifest import Manifest, OperatingPoint, Package
from pitviper.core.metrics import DetectionMetrics, MetricsResult
from pitviper.core.models import DetectorNetwork
from pitviper.core.weights import describe_architecture, write_package
from pitviper.train.config import DetectorConfig, by_name, stored_config
from pitviper.train.data.splits import judged_splits
from pitviper.train.run import BEST, load_run
from pitviper.train.validate import predictor

Pair = tuple[NDArray[np.float32], NDArray[np.bool_]]

PACKAGE = "package"
"""Folder of the package in its run folder."""

OPERATING_POINTS = {"default": 0.5, "sensitive": 0.2, "quiet": 0.8}
"""Thresholds that a package states its validation results for; the first is what a ``Detector`` takes."""


def package_run(
    folder: Path,
    output: Path,
    *,
    which: str,
    licence: str,
    provenance: str,
    commit: str,
    moved: Iterable[str] = (),
) -> Package:
    """Evaluate the kept weights of a run on its val splits and write them as a package.

    Args:
        folder: Finished run folder.
        output: Package folder or ``.zip``.
        which: ``"best"`` (chosen on the val splits) or ``"last"``.
        licence: Licence of the weights.
        provenance: Where the training data comes from.
        commit: Commit of the code that trained the run.
        moved: Data sets of the run that lie elsewhere by now, as in ``judged_splits``.

    Raises:
        FileNotFoundError: The run is not finished, or kept no such weights.
        DatasetError: The run's data is not there, or its val splits have changed since.
    """
    network, summary = load_run(folder, which)
    config = stored_config(summary)
    val_sets = judged_splits(config.data, summary["validation"], moved=moved)
    predicted = {d.name: _predict(network, d) for d in val_sets}
    metrics = {d.name: _describe(d, predicted[d.name]) for d in val_sets}
    manifest = Manifest(
        name=config.model,
        architecture=describe_architecture(config.model, network),
        normalisation="",
        stride=0,
        operating_points=operating_points(predicted),
        metrics=metrics,
        training={
            "command": training_command(config),
            "commit": commit,
            "config": _settings(summary["config"]),
            "weights": _origin(summary, which),
            **{key: summary[key] for key in ("vfm", "init", "mine", "missed", "average") if key in summary},
        },
        data=tuple(summary["data"]),
        licence=licence,
        provenance=provenance,
    )
    return write_package(output, network, manifest)


def package_finished(folder: Path) -> Package:
    """Package a run that just ended into its own folder, with what it was not told left as not stated.

    The weights are the best on the val splits, or without any the last ones.
    """
    which = "best" if (folder / BEST).is_file() else "last"
    unknown = "not stated"
    return package_run(
        folder, folder / PACKAGE, which=which, licence=unknown, provenance=unknown, commit=unknown
    )


def operating_points(predicted: Mapping[str, Sequence[Pair]]) -> tuple[OperatingPoint, ...]:
    """Every threshold of ``OPERATING_POINTS`` with what it gives on every val set; without a val set, it alone."""
    points = []
    for name, threshold in OPERATING_POINTS.items():
        for data, pairs in predicted.items():
            result = _measure(pairs, threshold=threshold)
            point = (result.pd, result.fa_per_mpix, result.false_objects_per_frame)
            points.append(OperatingPoint(name, threshold, data, *point))
        if not predicted:
            points.append(OperatingPoint(name, threshold, "not measured", None, None, None))
    return tuple(points)


def _predict(network: DetectorNetwork, dataset: Dataset) -> list[Pair]:
    predict = predictor(network)
    samples = (read_sample(sample) for sample in dataset.samples)
    return [(predict(frame), mask) for frame, mask in samples]


def _describe(dataset: Dataset, pairs: Sequence[Pair]) -> dict[str, Any]:
    results = _measure(pairs, curves=True).to_dict()
    return {"split": dataset.split, "split_sha256": dataset.split_sha256, **results}


def _measure(pairs: Sequence[Pair], *, threshold: float = 0.5, curves: bool = False) -> MetricsResult:
    metrics = DetectionMetrics(curves=curves, threshold=threshold)
    for probability, mask in pairs:
        metrics.update(probability, mask)
    return metrics.compute()


def training_command(config: DetectorConfig) -> str:
    """The command that repeats a run from the manifest's ``config``, saved as config.json; folders by name."""
    parts = ["pitviper-train", config.recipe, "--config", "config.json", "--model", config.model]
    for root in config.data:
        parts += ["--data", Path(root).name]
    return shlex.join([*parts, "--seed", str(config.seed)])


def _origin(summary: dict[str, Any], which: str) -> str:
    """In words, where the weights come from."""
    if "average" in summary:
        return "mean of the run's weights and earlier ones of the same training, see average"
    return "best epoch: highest mean of (IoU + Pd) / 2 on val" if which == "best" else "last epoch"


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """What the manifest keeps of the settings: no path of the machine that trained."""
    return {key: value for key, value in by_name(config).items() if key != "data"}
