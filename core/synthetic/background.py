# SPDX-License-Identifier: Apache-2.0
"""Backgrounds: sky, cloud, sea and terrain, in counts, as functions of time and platform shift."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.fft

from pitviper.core.synthetic.config import SceneConfig
from pitviper.core.synthetic.fields import (
    Field,
    power_law,
    sampled,
    smoothstep,
    travelling_waves,
    warped,
    window,
)
from pitviper.core.synthetic.terrain import terrain

BASE_COUNTS = 6800.0


class Background(Protocol):
    """A background of fixed size. `horizon` is the row (in the frame, at rest) above which there is sky."""

    @property
    def horizon(self) -> float: ...

    def render(self, time_s: float, shift: tuple[float, float]) -> Field:
        """Counts float32 [H, W] at a time, for a platform shifted by (y, x) pixels, each within the drift bound."""


def margin(config: SceneConfig) -> int:
    """Pixels that a background needs around the frame for the drift and the bilinear window."""
    return math.ceil(config.drift_px) + 1


def make_background(config: SceneConfig, rng: np.random.Generator) -> Background:
    """The background that the config names."""
    if config.clutter == "sea":
        return _sea(config, rng)
    pad = margin(config)
    shape = (config.height + 2 * pad, config.width + 2 * pad)
    gain = np.float32(config.contrast)
    if config.clutter == "terrain":
        counts, horizon = terrain(rng, shape, config.psf_sigma_px)
        still = np.float32(BASE_COUNTS) + gain * counts
        return _Layers(still, None, (0.0, 0.0), (config.height, config.width), pad, horizon - pad)
    still = np.float32(BASE_COUNTS - 300) + gain * _sky(rng, shape)
    if config.clutter == "sky":
        return _Layers(still, None, (0.0, 0.0), (config.height, config.width), pad, float(config.height))
    cloud, wind = _cloud(rng, shape), rng.uniform(0.5, 6.0) * rng.choice([-1.0, 1.0])
    speed = (float(rng.uniform(-0.5, 0.5)), float(wind))
    return _Layers(still, gain * cloud, speed, (config.height, config.width), pad, float(config.height))


@dataclass(frozen=True)
class _Layers:
    """A still layer and, over it, a periodic layer that the wind moves (pixels per second, y and x)."""

    still: Field
    moving: Field | None
    wind: tuple[float, float]
    shape: tuple[int, int]
    pad: int
    horizon: float

    def render(self, time_s: float, shift: tuple[float, float]) -> Field:
        counts = window(self.still, self.pad + shift[0], self.pad + shift[1], self.shape)
        if self.moving is not None:
            y = (self.pad + shift[0] + self.wind[0] * time_s) % self.period[0]
            x = (self.pad + shift[1] + self.wind[1] * time_s) % self.period[1]
            counts += window(self.moving, y, x, self.shape)
        return counts

    @property
    def period(self) -> tuple[int, int]:
        """Period of the moving layer: it is stored with one window and one pixel of repetition."""
        assert self.moving is not None
        height, width = self.moving.shape
        return height - self.shape[0] - 2 * self.pad, width - self.shape[1] - 2 * self.pad


def _sky(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """Clear sky: warmer towards the horizon (a longer path through the air), with faint haze."""
    rows = np.linspace(0, 1, shape[0], dtype=np.float32)[:, None]
    gradient = rng.uniform(60, 260) * rows ** rng.uniform(1.2, 2.2)
    haze = power_law(rng, shape, 3.6, stretch=2.0, shortest_px=6.0)
    return np.asarray(gradient + rng.uniform(3, 10) * haze, dtype=np.float32)


def _cloud(rng: np.random.Generator, shape: tuple[int, int]) -> Field:
    """A periodic cloud layer, tiled by one window so that any part of a period can be cut without a seam."""
    period = (scipy.fft.next_fast_len(shape[0], real=True), scipy.fft.next_fast_len(shape[1], real=True))
    stretch = float(rng.uniform(0.55, 0.9))
    shape_field = power_law(rng, period, 3.3, stretch=1 / stretch, shortest_px=2.5)
    bend = min(period) * float(rng.uniform(0.01, 0.035))
    dy, dx = power_law(rng, period, 3.6, shortest_px=8.0), power_law(rng, period, 3.6, shortest_px=8.0)
    shape_field = warped(shape_field, dy * np.float32(bend), dx * np.float32(bend))
    threshold, softness = float(rng.uniform(-0.7, 0.7)), float(rng.uniform(0.7, 2.0))
    density = smoothstep((shape_field - np.float32(threshold)) / np.float32(softness))
    billows = power_law(rng, period, 2.7, shortest_px=2.5)
    counts = density * (float(rng.uniform(150, 420)) + float(rng.uniform(12, 40)) * billows)
    return np.pad(counts.astype(np.float32), ((0, shape[0]), (0, shape[1])), mode="wrap")


@dataclass(frozen=True)
class _Sea:
    """Sky over a perspective sea of three travelling wave bands; crests glint. `top` is the first sea row."""

    still: Field
    waves: tuple[tuple[float, Field, Field], ...]
    glint: Field
    top: int
    shape: tuple[int, int]
    pad: int
    horizon: float

    def render(self, time_s: float, shift: tuple[float, float]) -> Field:
        height: Field = np.zeros_like(self.glint)
        for omega, real, imaginary in self.waves:
            height += np.float32(math.cos(omega * time_s)) * real
            height += np.float32(math.sin(omega * time_s)) * imaginary
        crest = np.maximum(height - np.float32(9.0), 0)
        crest *= crest
        crest *= self.glint
        height += crest
        counts = self.still.copy()
        counts[self.top :] += height
        return window(counts, self.pad + shift[0], self.pad + shift[1], self.shape)


def _sea(config: SceneConfig, rng: np.random.Generator) -> Background:
    pad = margin(config)
    height, width = config.height + 2 * pad, config.width + 2 * pad
    horizon = int(rng.uniform(0.18, 0.45) * height)
    below = np.arange(height - horizon, dtype=np.float32) + np.float32(0.5)
    # A flat sea under a pinhole camera: distance goes with 1 / (rows below the horizon); 1 at the bottom row.
    distance = (below[-1] / below)[:, None]
    side = (np.arange(width, dtype=np.float32) - width / 2)[None, :] * distance
    along = distance * np.float32(height) + np.zeros_like(side)
    period = (512, 512)
    heading = float(rng.uniform(0.2, math.pi - 0.2))
    waves: list[tuple[float, Field, Field]] = []
    gain = np.float32(config.contrast)
    for wavelength, counts in ((70.0, 9.0), (28.0, 7.0), (10.0, 5.0)):
        # A wave shorter than two pixels on the sensor averages out: its band fades with distance.
        fade = np.exp(-((2.2 * distance / wavelength) ** 2)) * np.minimum(1, wavelength / (6 * distance))
        field = travelling_waves(rng, period, wavelength, heading + float(rng.uniform(-0.4, 0.4)))
        amplitude = (gain * np.float32(counts) * fade).astype(np.float32)
        real = amplitude * sampled(field.real, -along, side)
        imaginary = amplitude * sampled(field.imag, -along, side)
        # Deep-water dispersion, omega = sqrt(g k), with the bottom row's scale set to about 0.15 m a pixel.
        waves.append((math.sqrt(9.81 * 2 * math.pi / (wavelength * 0.15)), real, imaginary))
    lane = np.exp(
        -(((side / distance - rng.uniform(-0.4, 0.4) * width) / (rng.uniform(0.08, 0.3) * width)) ** 2)
    )
    glint = np.asarray(gain * (0.03 + rng.uniform(0.0, 0.12) * lane), dtype=np.float32)
    sky = _sky(rng, (horizon, width))
    streaks = power_law(rng, (height - horizon, width), 2.6, stretch=0.12, shortest_px=1.5)
    sea_level = sky[-1].mean() - rng.uniform(20, 120)
    sea = sea_level + rng.uniform(20, 160) * (1 - 1 / distance) + 7.0 * streaks
    still = np.float32(BASE_COUNTS - 200) + gain * np.concatenate([sky, sea.astype(np.float32)])
    still[horizon - 1] = (still[horizon - 2] + still[horizon]) / 2
    shape = (config.height, config.width)
    return _Sea(still.astype(np.float32), tuple(waves), glint, horizon, shape, pad, float(horizon - pad))
