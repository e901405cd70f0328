# SPDX-License-Identifier: Apache-2.0
"""Random training crops. A crop depends on (seed, draw, index) alone, so a resumed run sees the same ones."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from pitviper.train.data.augment import AugmentConfig, augment
from pitviper.train.data.planting import Planter
from pitviper.train.data.store import StoredFrame

_UNIT_SIDE = 256
_CLUTTER_SHARE = 0.5


class CropDataset(Dataset[tuple[Tensor, Tensor]]):
    """Augmented crops of standardised frames.

    An item is (image float32 [1, S, S], mask float32 [1, S, S]); its key is (draw, index of the frame).

    Args:
        frames: Frames to crop from; a side shorter than the crop is extended by reflection, mask and all.
        size: S, side of the crop in pixels.
        target_share: Probability that a crop of a frame with targets is placed over one of them, and that of a frame
            without over its clutter, where some was mined; one that has both gets either, half and half.
        augmentation: Geometry and sensor effects.
        seed: Seed of the run.
        upright: Data sets, by name, whose crops are neither turned nor mirrored (``augment``).
        plant: Probability that a crop gets one more target, cut out of another frame (``planting``).
    """

    def __init__(
        self,
        frames: Sequence[StoredFrame],
        *,
        size: int,
        target_share: float,
        augmentation: AugmentConfig,
        seed: int,
        upright: Collection[str] = (),
        plant: float = 0.0,
    ) -> None:
        self.frames = frames
        self.size = size
        self.target_share = target_share
        self.augmentation = augmentation
        self.seed = seed
        self.upright = upright
        self.plant = plant
        self.planter = Planter(frames, upright) if plant else None

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        draw, index = key
        rng = np.random.default_rng((self.seed, draw, index))
        frame = self.frames[index]
        top, left = self._corner(frame, rng)
        image = cut(frame.image, top, left, self.size).astype(np.float32)
        mask = cut(frame.mask, top, left, self.size)
        if self.planter and rng.random() < self.plant:
            image, mask = self.planter.plant(image, mask, frame.dataset, rng)
        image, mask = augment(image, mask, self.augmentation, rng, upright=frame.dataset in self.upright)
        return torch.from_numpy(image)[None], torch.from_numpy(mask.astype(np.float32))[None]

    def _corner(self, frame: StoredFrame, rng: np.random.Generator) -> tuple[int, int]:
        room = [max(side - self.size, 0) for side in frame.image.shape]
        corner = [int(rng.integers(r + 1)) for r in room]
        places = frame.targets if len(frame.targets) else frame.clutter
        if len(frame.targets) and len(frame.clutter) and rng.random() < _CLUTTER_SHARE:
            places = frame.clutter
        if len(places) and rng.random() < self.target_share:
            pixel = places[rng.integers(len(places))]
            corner = [
                int(np.clip(p - rng.integers(self.size), 0, r)) for p, r in zip(pixel, room, strict=True)
            ]
        return corner[0], corner[1]


def cut(array: NDArray[np.generic], top: int, left: int, size: int) -> NDArray[np.generic]:
    """The window [top, top + size) x [left, left + size) of an array [H, W], extended by reflection where needed."""
    window = array[top : top + size, left : left + size]
    missing = [size - side for side in window.shape]
    return np.pad(window, [(0, m) for m in missing], mode="reflect") if any(missing) else window


def cut_around(array: NDArray[np.generic], row: int, column: int, size: int) -> NDArray[np.generic]:
    """The window of this size around a pixel, moved inside the array [H, W] where it would reach beyond."""
    height, width = array.shape
    top = int(np.clip(row - size // 2, 0, max(height - size, 0)))
    left = int(np.clip(column - size // 2, 0, max(width - size, 0)))
    return cut(array, top, left, size)


class EpochSampler(Sampler[list[tuple[int, int]]]):
    """Keys (draw, index) of one epoch, one list for each part of a step, in an order drawn from (seed, epoch).

    Frame i comes ``repeats[i]`` times; ``draw`` counts the crops taken of it since the start of the run, so every crop
    is another one. A step takes the next ``batch`` keys; those that do not fill a last step are left out. Its keys are
    dealt out one by one to ``world * accumulate`` parts. Process r of n takes the parts r, r + n, r + 2n and so on:
    which crops a step and its parts hold does not depend on how many processes share the parts.

    Args:
        repeats: Crops of each frame in an epoch.
        batch: Keys of a step, over all processes and parts.
        seed: Seed of the run.
        rank: r.
        world: n.
        accumulate: Parts of a step that each process takes.

    Raises:
        ValueError: The batch does not divide into the parts, or is larger than an epoch.
    """

    def __init__(
        self,
        repeats: Sequence[int],
        *,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
    ) -> None:
        parts = world * accumulate
        if batch % parts:
            raise ValueError(
                f"batch {batch} does not divide into {parts} parts ({world} processes, --accumulate {accumulate})"
            )
        if sum(repeats) < batch:
            raise ValueError(f"{sum(repeats)} crops an epoch do not fill a batch of {batch}; lower --batch")
        self.repeats = repeats
        self.batch = batch
        self.seed = seed
        self.rank = rank
        self.world = world
        self.accumulate = accumulate
        self.epoch = 0
        self.first_step = 0

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return sum(self.repeats) // self.batch

    def __len__(self) -> int:
        return (self.steps - self.first_step) * self.accumulate

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        keys = [(self.epoch * n + k, i) for i, n in enumerate(self.repeats) for k in range(n)]
        order = rng.permutation(len(keys))
        parts = self.world * self.accumulate
        for step in range(self.first_step, self.steps):
            taken = order[step * self.batch : (step + 1) * self.batch]
            for part in range(self.rank, parts, self.world):
                yield [keys[i] for i in taken[part::parts]]


def crop_counts(frames: Sequence[StoredFrame], crops_per_frame: int) -> list[int]:
    """Crops of each frame in an epoch: more of a larger frame, as the square root of its area in 256 x 256 pixels."""
    return [crops_per_frame * max(1, round(math.sqrt(f.image.size) / _UNIT_SIDE)) for f in frames]
