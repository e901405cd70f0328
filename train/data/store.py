# SPDX-License-Identifier: Apache-2.0
"""Training frames in memory: standardised once, by the same definition that the detector uses on live frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitviper.core.datasets import Dataset, DatasetError, Sample, read_sample
from pitviper.kernels import standardise

SYNTHETIC_SIDE = 256
"""Height and width of the synthetic training frames in pixels."""

Normalise = Callable[[NDArray[Any]], NDArray[np.float32]]


@dataclass(frozen=True)
class StoredFrame:
    """One standardised frame.

    Attributes:
        name: ``set/sample``.
        image: float16 [H, W], standardised over the whole frame; half precision resolves 1/1000 of the frame's own
            residual, far below its noise.
        mask: bool [H, W], or a soft label of floats in [0, 1].
        targets: int32 [N, 2], (row, column) of every target pixel.
        clutter: int32 [M, 2], (row, column) of what a model took for targets where there is none (``mining.py``).
    """

    name: str
    image: NDArray[np.float16]
    mask: NDArray[Any]
    targets: NDArray[np.int32]
    clutter: NDArray[np.int32] = field(default_factory=lambda: np.empty((0, 2), np.int32))

    @property
    def dataset(self) -> str:
        """Name of the data set that it is of."""
        return self.name.split("/", 1)[0]


def load_frames(datasets: Iterable[Dataset], *, normalise: Normalise = standardise) -> list[StoredFrame]:
    """Read and standardise every sample of the data sets, in order.

    A data set that is listed twice gives its frames twice, and they are read and kept once.

    Raises:
        DatasetError: A file is missing, unreadable or of the wrong size.
    """
    loaded: dict[Dataset, list[StoredFrame]] = {}
    frames: list[StoredFrame] = []
    for dataset in datasets:
        if dataset not in loaded:
            loaded[dataset] = [_load(dataset, sample, normalise) for sample in dataset.samples]
        frames += loaded[dataset]
    return frames


def _load(dataset: Dataset, sample: Sample, normalise: Normalise) -> StoredFrame:
    frame, mask = read_sample(sample)
    return make_frame(f"{dataset.name}/{sample.name}", frame, mask, normalise=normalise)


def make_frame(
    name: str, frame: NDArray[Any], mask: NDArray[np.bool_], *, normalise: Normalise = standardise
) -> StoredFrame:
    """Standardise one frame [H, W] of counts with its mask [H, W] for the crops to draw from.

    Raises:
        DatasetError: The frame cannot be standardised: it is too small, or holds values that are not finite.
    """
    targets = np.argwhere(mask).astype(np.int32)
    try:
        standardised = normalise(frame)
    except ValueError as error:
        raise DatasetError(f"{name}: {error}") from error
    return StoredFrame(name, standardised.astype(np.float16), mask, targets)
