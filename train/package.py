# SPDX-License-Identifier: Apache-2.0
"""From a finished run to a weights package: full evaluation on the val splits, operating points, manifest."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from pitviper.core.datasets import Dataset
from pitviper.core.evaluation import evaluate
from pitviper.core.manifest import Manifest, OperatingPoint, Package
from pitviper.core.models import DetectorNetwork
from pitviper.core.weights import describe_architecture, write_package
from pitviper.train.run import load_run, open_splits
from pitviper.train.validate import predictor

DEFAULT_THRESHOLD = 0.5


def package_run(
    folder: Path, output: Path, *, which: str, licence: str, provenance: str, commit: str
) -> Package:
    """Evaluate the kept weights of a run on its val splits and write them as a package.

    Args:
        folder: Finished run folder.
        output: Package folder or ``.zip``.
        which: ``"best"`` (chosen on the val splits) or ``"last"``.
        licence: Licence of the weights.
        provenance: Where the training data comes from.
        commit: Commit of the code that trained the run.
    """
    network, summary = load_run(folder, which)
    config = summary["config"]
    _, val_sets = open_splits(tuple(config["data"]))
    metrics = {d.name: evaluate_set(network, d) for d in val_sets}
    manifest = Manifest(
        name=config["model"],
        architecture=describe_architecture(config["model"], network),
        normalisation="",
        stride=0,
        operating_points=operating_points(metrics),
        metrics=metrics,
        training={
            "command": training_command(config),
            "commit": commit,
            "config": {k: v for k, v in config.items() if k != "data"},
            "weights": f"{which} epoch: "
            + ("highest mean of (IoU + Pd) / 2 on val" if which == "best" else "last"),
        },
        data=tuple(summary["data"]),
        licence=licence,
        provenance=provenance,
    )
    return write_package(output, network, manifest)


def evaluate_set(network: DetectorNetwork, dataset: Dataset) -> dict[str, Any]:
    """All metrics of a network on one split, with the split's hash."""
    result = evaluate(predictor(network), dataset.samples)
    return {"split": dataset.split, "split_sha256": dataset.split_sha256, **result.metrics.to_dict()}


def operating_points(metrics: dict[str, dict[str, Any]]) -> tuple[OperatingPoint, ...]:
    """The default threshold with what it gave on every val set; without a val set, the threshold alone."""
    if not metrics:
        return (OperatingPoint("default", DEFAULT_THRESHOLD, "none", None, 0.0, 0.0),)
    return tuple(
        OperatingPoint(
            "default" if i == 0 else f"default-{name}",
            DEFAULT_THRESHOLD,
            name,
            values["pd"],
            values["fa_per_mpix"],
            values["false_objects_per_frame"],
        )
        for i, (name, values) in enumerate(metrics.items())
    )


def training_command(config: dict[str, Any]) -> str:
    """The command that repeats a run, data folders by name."""
    parts = ["pitviper-train", "supervised", "--config", "train.json", "--model", config["model"]]
    for root in config["data"]:
        parts += ["--data", Path(root).name]
    return shlex.join([*parts, "--seed", str(config["seed"])])
