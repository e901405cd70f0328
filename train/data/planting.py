# SPDX-License-Identifier: Apache-2.0
"""Targets cut out of training frames and added to crops of others.

Copies of small objects train a detector where few are labelled (Kisantal et al., "Augmentation for small object
detection", arXiv 1902.07296). A distant target adds its radiance to what lies around it, so a copy is added here, not
put in place of the pixels: the new background stays below it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pitviper.train.data.store import StoredFrame

_EIGHT = np.ones((3, 3), np.int8)
_REACH = 32
_MARGIN = 4
_GAIN = 0.3
_LEAST_CONTRAST = 2.0
_TRIES = 8


class Planter:
    """Adds copies of the targets of training frames to crops.

    A data set whose crops stay upright, since its masks lie beside their targets, keeps its targets to itself and gets
    none of others.

    Args:
        frames: Training frames; a frame that comes several times gives its targets as often.
        upright: Data sets, by name, whose crops are neither turned nor mirrored.
    """

    def __init__(self, frames: Sequence[StoredFrame], upright: Collection[str]) -> None:
        self._upright = frozenset(upright)
        self._sources: dict[str, list[StoredFrame]] = {}
        for frame in frames:
            if len(frame.targets):
                self._sources.setdefault(self._kin(frame.dataset), []).append(frame)

    def plant(
        self,
        image: NDArray[np.float32],
        mask: NDArray[Any],
        dataset: str,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """One more target, away from those of the crop and where it stands out by twice the local deviation.

        Args:
            image: Standardised crop, float32 [H, W].
            mask: [H, W], bool or a soft label of floats in [0, 1].
            dataset: Name of the data set that the crop is of.
            rng: Source of all randomness.

        Returns:
            New image and mask, or the given ones where no target was found that suits, or no place for it.
        """
        sources = self._sources.get(self._kin(dataset))
        if not sources:
            return image, mask
        found = cut_target(sources[rng.integers(len(sources))], rng)
        if found is None:
            return image, mask
        light, shape = found
        if dataset not in self._upright:
            turns = int(rng.integers(4))
            light, shape = np.rot90(light, turns), np.rot90(shape, turns)
        light = light * np.float32(1.0 + rng.uniform(-_GAIN, _GAIN))
        room = [side - own for side, own in zip(image.shape, light.shape, strict=True)]
        if min(room) < 0:
            return image, mask
        strength = abs(float(light[shape].mean()))
        for _ in range(_TRIES):
            top, left = (int(rng.integers(r + 1)) for r in room)
            place = np.s_[top : top + light.shape[0], left : left + light.shape[1]]
            if not mask[place].any() and strength >= _LEAST_CONTRAST * float(image[place].std()):
                image, mask = image.copy(), mask.copy()
                image[place] += light
                mask[place][shape] = 1
                break
        return image, mask

    def _kin(self, dataset: str) -> str:
        return dataset if dataset in self._upright else ""


def cut_target(
    frame: StoredFrame, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.bool_]] | None:
    """A random target of a frame without its background, and its pixels.

    Returns:
        What it adds to the median around it, float32 [h, w], fading to nothing over a margin of 4 pixels, and the
        mask of its pixels, bool [h, w]. None where it is too large, or too near to the border or to another target.
    """
    row, column = frame.targets[rng.integers(len(frame.targets))]
    top, left = max(row - _REACH, 0), max(column - _REACH, 0)
    window = np.s_[top : row + _REACH + 1, left : column + _REACH + 1]
    labels, _ = ndimage.label(frame.mask[window] > 0.5, _EIGHT)
    own = labels == labels[row - top, column - left]
    rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
    first = np.array([rows[0], columns[0]]) - _MARGIN
    last = np.array([rows[-1], columns[-1]]) + _MARGIN + 1
    if (first < 0).any() or (last > own.shape).any():
        return None
    box = np.s_[first[0] : last[0], first[1] : last[1]]
    own = own[box]
    if (labels[box] > 0).sum() > own.sum():
        return None
    image = frame.image[window][box].astype(np.float32)
    distance = ndimage.distance_transform_edt(~own)
    background = np.median(image[(distance > _MARGIN / 2) & (distance <= _MARGIN)])
    fade = np.clip(1.0 - distance / (_MARGIN + 1), 0.0, 1.0).astype(np.float32)
    return fade * (image - background), own
