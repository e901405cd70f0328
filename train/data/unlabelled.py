# SPDX-License-Identifier: Apache-2.0
"""Frames for learning without masks: the train splits of data sets, and plain folders of frames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pitviper.core.datasets import Dataset, DatasetError, Sample, open_dataset
from pitviper.core.images import IMAGE_SUFFIXES, ImageError, read_frame
from pitviper.train.data.store import StoredFrame, make_frame


def open_frames(root: str | Path) -> Dataset:
    """The frames of a folder that may be learned from without masks.

    Args:
        root: A data set in any layout of ``core.datasets``, of which the train split is taken, or a folder that
            holds frames itself, of which all are.

    Raises:
        DatasetError: Neither.
    """
    root = Path(root)
    if (root / "images").is_dir() or not root.is_dir():
        return open_dataset(root, "train")
    files = sorted(p for p in root.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise DatasetError(
            f"{root}: neither a data set (no images/ folder) nor a folder of frames "
            f"({', '.join(sorted(IMAGE_SUFFIXES))})"
        )
    digest = hashlib.sha256("\n".join(p.name for p in files).encode()).hexdigest()
    samples = tuple(Sample(p.name, p, None) for p in files)
    return Dataset(root.resolve().name, root, "all", samples, digest)


def load_unlabelled(datasets: Iterable[Dataset]) -> list[StoredFrame]:
    """Read and standardise every frame; masks are not opened, and the stored ones are empty.

    Raises:
        DatasetError: A frame is missing or unreadable.
    """
    return [_load(dataset, sample) for dataset in datasets for sample in dataset.samples]


def frames_sha256(frames: Iterable[StoredFrame]) -> str:
    """SHA-256 over shapes and standardised pixels of all frames, in order."""
    digest = hashlib.sha256()
    for frame in frames:
        digest.update(repr(frame.image.shape).encode())
        digest.update(np.ascontiguousarray(frame.image).tobytes())
    return digest.hexdigest()


def _load(dataset: Dataset, sample: Sample) -> StoredFrame:
    try:
        frame = read_frame(sample.frame, colour="luma")
    except ImageError as error:
        raise DatasetError(f"frame {error}") from error
    return make_frame(f"{dataset.name}/{sample.name}", frame, np.zeros(frame.shape, np.bool_))
