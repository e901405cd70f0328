# SPDX-License-Identifier: Apache-2.0
"""Random training crops. A crop depends on (seed, draw, index) alone, so a resumed run sees the same ones."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from pitviper.train.data.augment import AugmentConfig, augment
from pitviper.train.data.store import StoredFrame

_UNIT_SIDE = 256


class CropDataset(Dataset[tuple[Tensor, Tensor]]):
    """Augmented crops of standardised frames.

    An item is (image float32 [1, S, S], mask float32 [1, S, S]); its key is (draw, index of the frame).

    Args:
        frames: Frames to crop from; a side shorter than the crop is extended by reflection, mask and all.
        size: S, side of the crop in pixels.
        target_share: Probability that a crop of a frame with targets is placed over one of them.
        augmentation: Geometry and sensor effects.
        seed: Seed of the run.
    """

    def __init__(
        self,
        frames: Sequence[StoredFrame],
        *,
        size: int,
        target_share: float,
        augmentation: AugmentConfig,
        seed: int,
    ) -> None:
        self.frames = frames
        self.size = size
        self.target_share = target_share
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        draw, index = key
        rng = np.random.default_rng((self.seed, draw, index))
        frame = self.frames[index]
        top, left = self._corner(frame, rng)
        image = cut(frame.image, top, left, self.size).astype(np.float32)
        mask = cut(frame.mask, top, left, self.size).astype(np.bool_)
        image, mask = augment(image, mask, self.augmentation, rng)
        return torch.from_numpy(image)[None], torch.from_numpy(mask.astype(np.float32))[None]

    def _corner(self, frame: StoredFrame, rng: np.random.Generator) -> tuple[int, int]:
        room = [max(side - self.size, 0) for side in frame.image.shape]
        corner = [int(rng.integers(r + 1)) for r in room]
        if len(frame.targets) and rng.random() < self.target_share:
            pixel = frame.targets[rng.integers(len(frame.targets))]
            corner = [
                int(np.clip(p - rng.integers(self.size), 0, r)) for p, r in zip(pixel, room, strict=True)
            ]
        return corner[0], corner[1]


def cut(array: NDArray[np.generic], top: int, left: int, size: int) -> NDArray[np.generic]:
    """The window [top, top + size) x [left, left + size) of an array [H, W], extended by reflection where needed."""
    window = array[top : top + size, left : left + size]
    missing = [size - side for side in window.shape]
    return np.pad(window, [(0, m) for m in missing], mode="reflect") if any(missing) else window


class EpochSampler(Sampler[tuple[int, int]]):
    """Keys (draw, index) of one epoch: frame i comes ``repeats[i]`` times, in an order drawn from (seed, epoch).

    ``draw`` counts the crops taken of a frame since the start of the run, so every crop is another one. With several
    processes, process r of n gets every n-th key, and all get equally many.
    """

    def __init__(self, repeats: Sequence[int], *, seed: int, rank: int = 0, world: int = 1) -> None:
        self.repeats = repeats
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0

    def __len__(self) -> int:
        return sum(self.repeats) // self.world

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng((self.seed, self.epoch))
        keys = [(self.epoch * n + k, i) for i, n in enumerate(self.repeats) for k in range(n)]
        order = rng.permutation(len(keys))[self.rank : len(self) * self.world : self.world]
        return (keys[i] for i in order)


def crop_counts(frames: Sequence[StoredFrame], crops_per_frame: int) -> list[int]:
    """Crops of each frame in an epoch: more of a larger frame, as the square root of its area in 256 x 256 pixels."""
    return [crops_per_frame * max(1, round(math.sqrt(f.image.size) / _UNIT_SIDE)) for f in frames]
