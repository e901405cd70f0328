# SPDX-License-Identifier: Apache-2.0
"""Training frames with point labels: from masks, which then serve for diagnosis only, or from a file of points."""

from __future__ import annotations

import hashlib
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitviper.core.datasets import Dataset, DatasetError, Sample, read_sample
from pitviper.core.images import IMAGE_SUFFIXES
from pitviper.core.points import PointLabels, Points, require_points
from pitviper.train.data.store import StoredFrame, make_frame
from pitviper.train.point_config import DERIVED
from pitviper.train.points.files import read_points
from pitviper.train.points.initial import InitialMask, initial_mask
from pitviper.train.points.labels import centroid_points, coarse_points


@dataclass(frozen=True)
class PointFrame:
    """One frame of which the points are known.

    Attributes:
        frame: Standardised, with an empty mask.
        points: [N, 2], (row, column).
        found: The outlines around the points.
        truth: The mask file's bool [H, W], where there is one. Nothing is trained with it.
        sample: Where the frame was read from.
    """

    frame: StoredFrame
    points: Points
    found: InitialMask
    truth: NDArray[np.bool_] | None
    sample: Sample


def load_point_frames(
    datasets: Iterable[Dataset],
    source: str,
    *,
    outline: str = "edges",
    polarity: str = "bright",
    seed: int = 0,
    quiet: bool = False,
) -> list[PointFrame]:
    """Read frames, their points and the initial masks of these.

    Of a data set of which the file of points lists some frames, the others are left out, and their number is said; a
    background-only one of which it lists none is all negatives.

    Args:
        datasets: Splits to read; one that is there twice is read once and given twice.
        source: "centroid" or "coarse" derives points from the masks; anything else is what ``files.read_points`` reads.
        outline: As in ``initial_mask``.
        polarity: As there.
        seed: Of coarse points, which depend on it and on the frame's name alone.
        quiet: Do not say how many frames are left out.

    Raises:
        DatasetError: The file lists no frame of a data set that has masks, or one that no set has, or two; a point is
            outside its frame; there is no point at all; a file is missing or broken.
    """
    datasets = list(datasets)
    listed = _listed(source)
    loaded: dict[Dataset, list[PointFrame]] = {}
    chosen = _chosen(datasets, listed, source)
    if listed is not None and not quiet:
        for line in _remarks(chosen, listed, source):
            print(line, file=sys.stderr)
    for dataset, samples in chosen.items():
        loaded[dataset] = [
            _load(dataset, sample, listed, source=source, seed=seed, outline=outline, polarity=polarity)
            for sample in samples
        ]
    frames = [each for dataset in datasets for each in loaded[dataset]]
    if not any(len(each.points) for each in frames):
        raise DatasetError(f"no training frame has a point ({source}), so there is no target to learn from")
    return frames


def count_point_frames(datasets: Iterable[Dataset], source: str) -> int:
    """Different frames that ``load_point_frames`` would read.

    Raises:
        DatasetError: As there, but for what only reading a frame shows.
    """
    return sum(len(samples) for samples in _chosen(list(datasets), _listed(source), source).values())


def points_sha256(frames: Iterable[PointFrame]) -> str:
    """Hash of names and points, by which a resumed run knows its labels."""
    digest = hashlib.sha256()
    for each in frames:
        digest.update(f"{each.frame.name}:{each.points.tolist()}\n".encode())
    return digest.hexdigest()


def _load(
    dataset: Dataset,
    sample: Sample,
    listed: PointLabels | None,
    *,
    source: str,
    seed: int,
    outline: str,
    polarity: str,
) -> PointFrame:
    name = f"{dataset.name}/{sample.name}"
    raw, mask = read_sample(sample)
    if listed is not None:
        points = listed.get(sample.name, np.zeros((0, 2), np.int32))
    elif source == "centroid":
        points = _different(centroid_points(mask))
    else:
        points = _different(coarse_points(mask, np.random.default_rng((seed, zlib.crc32(name.encode())))))
    require_points(points, (mask.shape[0], mask.shape[1]), name=name)
    found = initial_mask(raw, points, outline=outline, polarity=polarity, name=name)
    truth = None if sample.mask is None else mask
    return PointFrame(make_frame(name, raw, np.zeros_like(mask)), points, found, truth, sample)


def _remarks(chosen: Mapping[Dataset, tuple[Sample, ...]], listed: PointLabels, source: str) -> Iterator[str]:
    """What becomes of frames that are not listed, and of listed ones that are not trained with."""
    unused = set(listed)
    for dataset, samples in chosen.items():
        names = {sample.name for sample in samples}
        unused -= names
        missing = len(dataset) - len(samples)
        if missing:
            yield (
                f"{dataset.name}: {missing} of {len(dataset)} frames are not in {source} and are left out; a frame "
                "without target is listed without points"
            )
        elif names.isdisjoint(listed):
            yield (
                f"{dataset.name}: none of its {len(dataset)} frames is in {source} and there are no masks: all of them "
                "are trained with as frames without target"
            )
    if unused:
        yield f"{len(unused)} frames that {source} labels are in no train split and are not trained with"


def _different(points: Points) -> Points:
    """Two targets, such as a ring and what is in it, may get the same pixel; as a label it stands for both."""
    return np.unique(points, axis=0)


def _listed(source: str) -> PointLabels | None:
    return None if source in DERIVED else read_points(source)


def _chosen(
    datasets: Sequence[Dataset], listed: PointLabels | None, source: str
) -> dict[Dataset, tuple[Sample, ...]]:
    """Samples of each data set of which there are points."""
    if listed is None:
        return {dataset: dataset.samples for dataset in datasets}
    _require_frames(listed, datasets, source)
    return {dataset: _labelled(listed, dataset, source) for dataset in dict.fromkeys(datasets)}


def _labelled(listed: PointLabels, dataset: Dataset, source: str) -> tuple[Sample, ...]:
    chosen = tuple(sample for sample in dataset.samples if sample.name in listed)
    if chosen:
        return chosen
    if not (dataset.root / "masks").is_dir():
        return dataset.samples
    raise DatasetError(
        f"{source} lists no frame of the {dataset.split} split of {dataset.name}; label some, or leave it out"
    )


def _require_frames(listed: PointLabels, datasets: Iterable[Dataset], source: str) -> None:
    """Every listed name is that of exactly one frame of the data."""
    owner: dict[str, str] = {}
    for root, name in {dataset.root: dataset.name for dataset in datasets}.items():
        for path in (root / "images").iterdir():
            if path.stem not in listed or path.suffix.lower() not in IMAGE_SUFFIXES:
                continue
            if owner.setdefault(path.stem, name) != name:
                raise DatasetError(
                    f"{source} labels {path.stem!r}, which is a frame of {owner[path.stem]} and of {name}; "
                    "rename one of the two, so that it is known which is meant"
                )
    if strange := sorted(set(listed) - set(owner)):
        raise DatasetError(
            f"{source} labels {strange[0]!r}, of which there is no frame in the data given ({len(strange)} such); "
            "correct the name, or give its data set too"
        )
