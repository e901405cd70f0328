# SPDX-License-Identifier: Apache-2.0
"""From settings and train splits to the companion of a run that learns from points."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pitviper.core.datasets import Dataset
from pitviper.train.data.store import StoredFrame
from pitviper.train.evolution.course import Course
from pitviper.train.evolution.phases import Phases
from pitviper.train.evolution.pools import LabelPools, PoolRule
from pitviper.train.evolution.reference import ReferenceReweighting
from pitviper.train.evolution.reweighting import Reweighting, Weighting
from pitviper.train.evolution.update import UpdateRule
from pitviper.train.point_config import (
    LESPSConfig,
    PointConfig,
    SemanticPriorsConfig,
    SPReferenceConfig,
)
from pitviper.train.points.initial import easy_mask
from pitviper.train.points.source import PointFrame, load_point_frames, points_sha256
from pitviper.train.processes import Processes

DESCRIPTORS = "descriptors.json"
"""Cache of image descriptors in a run folder."""


def start_course(
    config: PointConfig,
    train_sets: Sequence[Dataset],
    folder: Path,
    *,
    processes: Processes | None = None,
) -> Course:
    """Read frames and points, group the frames where the recipe weighs them, and make the first labels.

    Args:
        config: Settings.
        train_sets: Train splits; no other split is read.
        folder: Run folder, where descriptors are kept.
        processes: Of the run; labels and weights of clusters are the same in all.

    Raises:
        DatasetError: As in ``load_point_frames``.
        ValueError: No frame to begin with, or more clusters than frames.
        ImportError: Clusters without scikit-image or scikit-learn.
    """
    processes = processes or Processes()
    frames = load_point_frames(
        train_sets,
        config.points,
        outline=config.outline,
        polarity=config.polarity,
        seed=config.seed,
        quiet=not processes.is_first,
    )
    facts: dict[str, Any] = {"points": _describe(config, frames)}
    upper: list[PointFrame] = []
    upper_until = 1.0
    reweighting: Weighting | None = None
    if isinstance(config, SemanticPriorsConfig) and config.bilevel != "none":
        everything = frames
        clusters, about = processes.of_first(lambda: group_frames(everything, config, folder))
        frames, upper = split_frames(everything, share=config.upper_share, seed=config.seed)
        upper_until = config.upper_until
        if isinstance(config, SPReferenceConfig):
            kept = replace(_rule(config), least_share=-1.0)
            reweighting = ReferenceReweighting(config, clusters, LabelPools(upper, kept, processes=processes))
        else:
            reweighting = Reweighting(config, clusters, [_first_label(each) for each in upper])
        facts["clusters"] = about | {"upper_frames": len(upper)}
    later = upper if upper_until < 1.0 else ()
    pools = LabelPools(frames, _rule(config), later=later, processes=processes)
    phases = Phases(config.epochs, config.start, config.mine_until, config.interval, upper_until)
    start_loss = config.start_loss if isinstance(config, LESPSConfig) else float("inf")
    if processes.is_first:
        _say(facts, pools)
    return Course(pools, phases, facts=facts, start_loss=start_loss, reweighting=reweighting)


def split_frames(
    frames: Sequence[PointFrame], *, share: float, seed: int
) -> tuple[list[PointFrame], list[PointFrame]]:
    """Frames of the lower and of the upper level: a seeded draw of this share of each data set.

    Frames with points and frames without are drawn apart, so that each level has its part of either: at least one of
    a set with points, where it has two or more of them. A frame that is there twice is twice in one of them.

    Raises:
        ValueError: A level would have no frame with a point.
    """
    by_kind: dict[tuple[str, bool], list[str]] = {}
    for each in {each.frame.name: each for each in frames}.values():
        by_kind.setdefault((each.frame.name.partition("/")[0], len(each.points) > 0), []).append(
            each.frame.name
        )
    rng = np.random.default_rng(seed)
    drawn: set[str] = set()
    for (_, pointed), names in by_kind.items():
        count = round(share * len(names))
        if pointed:
            count = min(max(1, count), len(names) - 1)
        drawn.update(names[int(index)] for index in rng.permutation(len(names))[:count])
    lower = [each for each in frames if each.frame.name not in drawn]
    upper = [each for each in frames if each.frame.name in drawn]
    if not all(any(len(each.points) for each in level) for level in (lower, upper)):
        labelled = len({each.frame.name for each in frames if len(each.points)})
        raise ValueError(
            f"{labelled} frames with points are too few for both levels; label more, or pass --bilevel none"
        )
    return lower, upper


def group_frames(
    frames: Sequence[PointFrame], config: SemanticPriorsConfig, folder: Path
) -> tuple[dict[str, int], dict[str, Any]]:
    """Cluster of each frame by its name, and what is said of the clusters in a summary.

    Raises:
        ValueError: More clusters than different frames, but for ``sp_reference``, which then has as many.
        ImportError: scikit-image or scikit-learn is missing.
    """
    from pitviper.train.clusters.descriptors import descriptor_table
    from pitviper.train.clusters.grouping import count_different, default_clusters, fit_clusters

    different = list({each.frame.name: each for each in frames}.values())
    names, table = descriptor_table([each.sample for each in different], folder / DESCRIPTORS)
    wanted = config.clusters or default_clusters(len(different))
    if isinstance(config, SPReferenceConfig):
        wanted = min(wanted, count_different(table))
    found = fit_clusters(names, table, clusters=wanted, features=config.features)
    clusters = {each.frame.name: int(label) for each, label in zip(different, found.labels, strict=True)}
    about = {
        "clusters": len(found),
        "frames": len(different),
        "sizes": found.sizes.tolist(),
        "of_one_frame": int((found.sizes == 1).sum()),
        "missing_descriptors": found.missing,
        "descriptors": list(found.names),
        "sha256": found.sha256(),
    }
    return clusters, about


def _rule(config: PointConfig) -> PoolRule:
    lesps = isinstance(config, LESPSConfig)
    update = UpdateRule(
        area_share=config.area_share,
        decay=config.decay,
        sequential=lesps,
        cap=config.largest_threshold or float("inf"),
    )
    return PoolRule(
        least_share=config.least_share, from_points=lesps, protect=config.protect, soft=lesps, update=update
    )


def _first_label(each: PointFrame) -> StoredFrame:
    """The frame with the outlines that were found, and its other points as single pixels."""
    mask = easy_mask(each.found, each.points, least_share=-1.0)
    assert mask is not None
    return replace(each.frame, mask=mask, targets=np.argwhere(mask).astype(np.int32))


def _describe(config: PointConfig, frames: Sequence[PointFrame]) -> dict[str, Any]:
    return {
        "source": Path(config.points).name,
        "frames": len(frames),
        "points": sum(len(each.points) for each in frames),
        "outlined": sum(int(each.found.accepted.sum()) for each in frames),
        "sha256": points_sha256(frames),
    }


def _say(facts: dict[str, Any], pools: LabelPools) -> None:
    points, numbers = facts["points"], pools.describe()
    text = (
        f"{points['points']} points ({points['source']}) in {points['frames']} frames; outlines around "
        f"{points['outlined']}; {numbers['selected']:.0f} frames begin, {numbers['waiting']:.0f} wait"
    )
    if "clusters" in facts:
        about = facts["clusters"]
        text += (
            f"; {about['clusters']} clusters, {about['of_one_frame']} of one frame; {about['upper_frames']} frames for "
            f"the upper level"
        )
        if about["missing_descriptors"]:
            text += f"; {about['missing_descriptors']} descriptors that a frame does not have became medians"
    print(text, file=sys.stderr, flush=True)
