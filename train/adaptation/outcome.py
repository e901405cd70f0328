# SPDX-License-Identifier: Apache-2.0
"""The package of an adaptation that was kept, and what its manifest says of where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pitviper.core.manifest import WEIGHTS, Manifest, OperatingPoint, Package, file_record
from pitviper.core.models import DetectorNetwork
from pitviper.core.weights import describe_architecture
from pitviper.train.adaptation.judge import Score
from pitviper.train.adaptation.settings import AdaptSettings
from pitviper.train.validate import Metrics

JUDGES = "held-out clicks"


def adapted_manifest(
    package: Package,
    network: DetectorNetwork,
    settings: AdaptSettings,
    facts: Mapping[str, Any],
    *,
    score: Score,
    guards: Metrics,
) -> Manifest:
    """Manifest of the adapted weights: the operating points and the licence are those of the package before.

    Args:
        package: That was adapted.
        network: With the new weights.
        settings: Of the adaptation.
        facts: Counts of clicks, tracks and frames.
        score: On the frames that judge.
        guards: Metrics of the guarding sets.
    """
    old = package.manifest
    thresholds = {point.name: point.threshold for point in old.operating_points}
    default = old.default_threshold()
    name = old.name if old.name.endswith("-adapted") else f"{old.name}-adapted"
    architecture = describe_architecture(str(old.architecture["name"]), network)
    return replace(
        old,
        name=name,
        architecture=architecture,
        operating_points=tuple(
            OperatingPoint(point, threshold, JUDGES, score.pd, None, score.false_objects_per_frame)
            if threshold == default
            else OperatingPoint(point, threshold, "not measured", None, None, None)
            for point, threshold in thresholds.items()
        ),
        metrics={
            JUDGES: {
                "images": score.frames,
                "targets": score.points,
                "pd": score.pd,
                "false_objects_per_frame": score.false_objects_per_frame,
            },
            **guards,
        },
        training={
            "command": f"pitviper adapt {facts['source']}",
            "commit": "not stated",
            "config": describe_settings(settings),
            "weights": "last step of a fine-tuning",
            "adapted_from": origin(package),
            "adaptation": dict(facts),
            "before": old.training,
        },
        provenance=f"{old.provenance} Adapted to a stream of its user: {facts['clicked_frames']} clicked frames, "
        f"{facts['track_frames']} frames with tracks, {facts['synthetic_frames']} synthetic frames.",
        files={},
    )


def origin(package: Package) -> dict[str, Any]:
    """Name of a package, and the hash of its weights in training form."""
    return {"name": package.manifest.name, **file_record(package.read(WEIGHTS))}


def describe_settings(settings: AdaptSettings) -> dict[str, Any]:
    """The settings without the paths of one machine."""
    names = ("steps", "batch", "lr", "crop", "tolerance", "chance", "seed")
    data = [Path(each).name for each in settings.data]
    return {**{name: getattr(settings, name) for name in names}, "data": data}
