# SPDX-License-Identifier: Apache-2.0
"""A seeded infrared sequence with exact truth."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from pitviper.core.synthetic.background import make_background
from pitviper.core.synthetic.config import CLUTTERS, SceneConfig
from pitviper.core.synthetic.fields import Field
from pitviper.core.synthetic.sensor import Sensor
from pitviper.core.synthetic.targets import Footprint, make_target

_SNR_REACH_PX = 10


@dataclass(frozen=True)
class SceneFrame:
    """One frame and its truth.

    - `frame`: counts, uint16 [H, W].
    - `mask`: bool [H, W]. A target covers the pixels whose light from it is above half of its largest pixel, in one
      8-connected piece, and always the pixel that holds its centroid. Targets that touch share one piece.
    - `targets`: centroids of the emitted light (x, y), float64 [N, 2]; pixel (r, c) has its centre at
      (c + 0.5, r + 0.5). Listed when at least one pixel of the target's mask is in the frame, so a centroid may lie
      outside by less than the target's reach.
    - `snr`: float32 [N], the target's largest pixel contribution in the frame over the deviation of the target-free
      frame within 10 pixels of that pixel.
    - `peak_counts`: float32 [N], that contribution. `area_px`: int32 [N], mask pixels in the frame.
    - `ids`: int32 [N], the number of the target in the scene, the same over time.
    - `time_ns`: capture time from the start of the sequence.
    """

    frame: NDArray[np.uint16]
    mask: NDArray[np.bool_]
    targets: NDArray[np.float64]
    snr: NDArray[np.float32]
    peak_counts: NDArray[np.float32]
    area_px: NDArray[np.int32]
    ids: NDArray[np.int32]
    index: int
    time_ns: int


class Scene:
    """The sequence that a `SceneConfig` describes: iterable, and indexable in any order with equal frames.

    Example:
        >>> scene = Scene(SceneConfig(width=64, height=48, frames=3, clutter="sea", seed=7))
        >>> scene[2].frame.shape
        (48, 64)
    """

    def __init__(self, config: SceneConfig | None = None) -> None:
        self.config = config or SceneConfig()
        rng = np.random.default_rng([self.config.seed, 1])
        self._background = make_background(self.config, rng)
        self._sensor = Sensor(self.config, rng)
        still = self._background.render(0.0, (0.0, 0.0))
        deviation = math.hypot(_local_deviation(still), self._sensor.deviation_counts)
        target_rng = np.random.default_rng([self.config.seed, 2])
        self._targets = [
            make_target(self.config, target_rng, self._background.horizon, deviation)
            for _ in range(self.config.targets)
        ]
        wander = np.random.default_rng([self.config.seed, 3])
        self._wander_hz = wander.uniform([0.03, 0.1, 2.0], [0.1, 0.5, 6.0], size=(2, 3))
        self._wander_phase = wander.uniform(0, 2 * math.pi, size=(2, 3))

    def __len__(self) -> int:
        if self.config.frames is None:
            raise TypeError("an endless scene has no length; set SceneConfig(frames=...)")
        return self.config.frames

    def __iter__(self) -> Iterator[SceneFrame]:
        index = 0
        while self.config.frames is None or index < self.config.frames:
            yield self[index]
            index += 1

    def __getitem__(self, index: int) -> SceneFrame:
        """The frame at an index; a negative index counts from the end. Raises IndexError outside the sequence."""
        number = index + len(self) if index < 0 else index
        if number < 0 or (self.config.frames is not None and number >= self.config.frames):
            raise IndexError(f"frame {index} is outside the scene of {self.config.frames} frames")
        time_s = number / self.config.fps
        shift = self._platform(time_s)
        rng = np.random.default_rng([self.config.seed, 4, number])
        counts = self._sensor.expose(self._background.render(time_s, shift), rng)
        prints = []
        for target in self._targets:
            x, y = target.position(number)
            x, y = x - shift[1], y - shift[0]
            prints.append((x, y, target.footprint(x, y, target.brightness(number))))
        return self._compose(counts, prints, number, round(time_s * 1e9))

    def _platform(self, time_s: float) -> tuple[float, float]:
        """Shift (y, x) in pixels: a slow wander and a small vibration, bounded by the config's drift."""
        waves = np.sin(2 * math.pi * self._wander_hz * time_s + self._wander_phase) @ np.array(
            [0.7, 0.25, 0.05]
        )
        return float(waves[0]) * self.config.drift_px, float(waves[1]) * self.config.drift_px

    def _compose(
        self, counts: Field, prints: list[tuple[float, float, Footprint]], index: int, time_ns: int
    ) -> SceneFrame:
        mask = np.zeros(counts.shape, dtype=np.bool_)
        rows: list[tuple[float, float, float, float, int, int]] = []
        light: list[tuple[tuple[slice, slice], NDArray[np.float32]]] = []
        for number, (x, y, footprint) in enumerate(prints):
            in_frame, in_patch = _overlap(footprint, counts.shape)
            added = footprint.counts[in_patch]
            if added.size == 0:
                continue
            light.append((in_frame, added))
            covered = footprint.mask[in_patch]
            area = int(covered.sum())
            if area:
                mask[in_frame] |= covered
                at_row, at_column = divmod(int(added.argmax()), added.shape[1])
                deviation = _around(counts, in_frame[0].start + at_row, in_frame[1].start + at_column)
                peak = float(added.max())
                rows.append((x, y, peak / max(deviation, 1e-6), peak, area, number))
        for in_frame, added in light:
            counts[in_frame] += added
        table = np.array(rows, dtype=np.float64).reshape(-1, 6)
        return SceneFrame(
            frame=self._sensor.quantise(counts),
            mask=mask,
            targets=np.ascontiguousarray(table[:, :2]),
            snr=table[:, 2].astype(np.float32),
            peak_counts=table[:, 3].astype(np.float32),
            area_px=table[:, 4].astype(np.int32),
            ids=table[:, 5].astype(np.int32),
            index=index,
            time_ns=time_ns,
        )


def random_scene_frame(
    seed: int, size: int | tuple[int, int]
) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """One frame of a scene drawn from the seed: (frame uint16 [H, W], mask bool [H, W]), for training.

    `size` is H = W, or (H, W), at least 32. Clutter, contrast, optics, noise, target count (0 to 5), size and SNR
    all vary. Equal arguments give equal frames.
    """
    height, width = (size, size) if isinstance(size, int) else size
    rng = np.random.default_rng([seed, 0])
    noise = float(np.exp(rng.uniform(math.log(1.5), math.log(10.0))))
    least = float(rng.uniform(4.0, 10.0))
    config = SceneConfig(
        width=width,
        height=height,
        frames=1,
        seed=seed,
        clutter=str(rng.choice(CLUTTERS, p=[0.15, 0.35, 0.2, 0.3])),
        targets=int(rng.choice(6, p=[0.12, 0.4, 0.22, 0.14, 0.08, 0.04])),
        size_px=(1.0, float(rng.choice([9.0, 30.0, 80.0]))),
        snr=(least, least * float(rng.uniform(1.2, 5.0))),
        psf_sigma_px=float(rng.uniform(0.5, 1.1)),
        contrast=float(np.exp(rng.uniform(math.log(0.3), math.log(3.0)))),
        noise_counts=noise,
        row_noise_counts=noise * float(rng.uniform(0, 0.3)),
        column_counts=noise * float(rng.uniform(0, 0.8)),
        row_counts=noise * float(rng.uniform(0, 0.4)),
        pixel_counts=noise * float(rng.uniform(0, 0.6)),
        vignetting=float(rng.uniform(0, 0.03)),
    )
    view = Scene(config)[0]
    return view.frame, view.mask


def _overlap(footprint: Footprint, shape: tuple[int, ...]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Slices of the frame and of the patch that cover each other; empty when they do not meet."""
    frame, patch = [], []
    for axis, start in enumerate((footprint.top, footprint.left)):
        low = min(max(start, 0), shape[axis])
        high = max(low, min(start + footprint.counts.shape[axis], shape[axis]))
        frame.append(slice(low, high))
        patch.append(slice(low - start, high - start))
    return (frame[0], frame[1]), (patch[0], patch[1])


def _around(counts: Field, row: int, column: int) -> float:
    reach = _SNR_REACH_PX
    return float(
        counts[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1].std()
    )


def _local_deviation(still: Field) -> float:
    """Typical texture of a background: median over pixels of the deviation from the 9x9 mean, in counts."""
    residual = still - scipy.ndimage.uniform_filter(still, 9)
    return float(np.sqrt(np.median(scipy.ndimage.uniform_filter(residual * residual, 9))))
