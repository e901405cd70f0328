# SPDX-License-Identifier: Apache-2.0
"""Sensor of a synthetic scene: vignetting, fixed pattern, temporal noise, counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pitviper.core.synthetic.config import SceneConfig


class Sensor:
    """A focal plane with a fixed pattern drawn once and noise drawn per frame."""

    def __init__(self, config: SceneConfig, rng: np.random.Generator) -> None:
        height, width = config.height, config.width
        self._config = config
        self._shape = (height, width)
        rows = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height * 2 - 1
        columns = (np.arange(width, dtype=np.float32)[None, :] + 0.5) / width * 2 - 1
        falloff = 1 - np.float32(config.vignetting) * (rows * rows + columns * columns) / 2
        self._falloff: NDArray[np.float32] = np.asarray(falloff, dtype=np.float32)
        pattern = config.column_counts * rng.standard_normal((1, width), dtype=np.float32)
        pattern = pattern + config.row_counts * rng.standard_normal((height, 1), dtype=np.float32)
        pattern = pattern + config.pixel_counts * rng.standard_normal((height, width), dtype=np.float32)
        stuck = rng.integers(0, height * width, config.bad_pixels)
        pattern.flat[stuck] += rng.uniform(150, 900, config.bad_pixels)
        self._pattern: NDArray[np.float32] = np.asarray(pattern, dtype=np.float32)

    def expose(self, counts: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        """Counts float32 [H, W] as the plane reads them, before quantisation; the input is overwritten."""
        noise = rng.standard_normal(self._shape, dtype=np.float32)
        noise *= np.float32(self._config.noise_counts)
        counts *= self._falloff
        counts += self._pattern
        counts += noise
        counts += np.float32(self._config.row_noise_counts) * rng.standard_normal(
            (self._shape[0], 1), dtype=np.float32
        )
        return counts

    def quantise(self, counts: NDArray[np.float32]) -> NDArray[np.uint16]:
        """Rounded and clipped to the range of the config's bits; the input is overwritten."""
        np.rint(counts, out=counts)
        np.clip(counts, 0, 2**self._config.bits - 1, out=counts)
        return counts.astype(np.uint16)

    @property
    def deviation_counts(self) -> float:
        """Deviation of one pixel from noise and fixed pattern together."""
        config = self._config
        parts = (
            config.noise_counts,
            config.row_noise_counts,
            config.column_counts,
            config.row_counts,
            config.pixel_counts,
        )
        return float(np.sqrt(sum(part * part for part in parts)))
