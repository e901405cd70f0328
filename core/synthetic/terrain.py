# SPDX-License-Identifier: Apache-2.0
"""Terrain background: ridges under a sky, fields, vegetation and a few warm structures."""

from __future__ import annotations

import numpy as np
import scipy.ndimage

from pitviper.core.synthetic.fields import Field, power_law, sampled, smoothstep


def terrain(rng: np.random.Generator, shape: tuple[int, int], psf_sigma_px: float) -> tuple[Field, float]:
    """Counts float32 [H, W] around zero, and the row of the nearest ground's upper edge.

    From far to near: sky, two or three ridges that the air pales towards the sky, and a ground plane whose texture
    grows towards the viewer. Everything passes the optics (a Gaussian of `psf_sigma_px`).
    """
    height, width = shape
    rows = np.arange(height, dtype=np.float32)[:, None]
    top = rng.uniform(0.15, 0.4) * height
    sky = -260 + 140 * (rows / height) + np.zeros((1, width), dtype=np.float32)
    counts = sky + 3 * power_law(rng, shape, 3.6, shortest_px=6.0)
    ridges = int(rng.integers(2, 4))
    for ridge in range(ridges):
        nearness = (ridge + 1) / ridges
        line = _skyline(rng, width, height * 0.09 * (0.4 + 0.6 * nearness))
        edge = top + nearness * 0.12 * height - line
        cover = np.clip(rows - edge[None, :] + 0.5, 0, 1).astype(np.float32)
        texture = power_law(rng, shape, 2.6, stretch=0.6, shortest_px=1.5)
        level = rng.uniform(-90, 10) * nearness - 90 * (1 - nearness)
        body = level + (8 + 26 * nearness) * texture
        counts = counts * (1 - cover) + body * cover
    ground_top = top + 0.22 * height
    edge = ground_top - 0.3 * _skyline(rng, width, height * 0.05)
    cover = smoothstep(((rows - edge[None, :] + 1.5) / 3).astype(np.float32))
    counts = counts * (1 - cover) + _ground(rng, shape, ground_top) * cover
    blurred = scipy.ndimage.gaussian_filter(counts, psf_sigma_px)
    return np.asarray(blurred, dtype=np.float32), float(top)


def _skyline(rng: np.random.Generator, width: int, amplitude: float) -> Field:
    """A ridge line: one row of a power-law field, deviation `amplitude` pixels."""
    line = power_law(rng, (8, max(width, 8)), float(rng.uniform(2.7, 3.6)), shortest_px=2.0)[3, :width]
    return np.asarray((line - line.mean()) / (line.std() + 1e-6) * amplitude, dtype=np.float32)


def _ground(rng: np.random.Generator, shape: tuple[int, int], top: float) -> Field:
    height, width = shape
    rows = np.arange(height, dtype=np.float32)[:, None]
    # Pinhole view of a plane that starts above the visible edge, so that the edge itself shows resolved texture.
    start = top - 0.2 * height
    distance = 1 / (0.12 + 0.88 * np.clip((rows - start) / (height - start), 0, 1))
    side = (np.arange(width, dtype=np.float32)[None, :] - width / 2) * distance
    along = -distance * height * 0.9 + np.zeros_like(side)
    period = (512, 512)
    rough = sampled(power_law(rng, period, 2.2, shortest_px=1.5), along, side)
    patches = sampled(power_law(rng, period, 3.2, shortest_px=3.0), along, side)
    # Fields of one crop or soil each: levels with narrow borders.
    levels = np.floor(patches * 1.6)
    border = smoothstep((patches * 1.6 - levels - 0.9) * 10)
    plots = (levels + border) * rng.uniform(25, 60)
    bushes = sampled(_bushes(rng, period), along, side)
    counts = plots + rng.uniform(14, 30) * rough + rng.uniform(-70, 70) * bushes - 20
    return np.asarray(counts + _structures(rng, shape, top), dtype=np.float32)


def _bushes(rng: np.random.Generator, period: tuple[int, int]) -> Field:
    """Clumps of vegetation: a rough mid-frequency field above a threshold, thinned by a slow one."""
    band = power_law(rng, period, 1.2, shortest_px=6.0)
    density = power_law(rng, period, 3.4, shortest_px=20.0)
    clumped = (band + np.float32(0.8) * density - np.float32(0.9)) / np.float32(0.9)
    return smoothstep(clumped.astype(np.float32))


def _structures(rng: np.random.Generator, shape: tuple[int, int], top: float) -> Field:
    """Roads, walls and roofs: straight edges, warm or cold, all larger than a target."""
    height, width = shape
    rows, columns = np.indices(shape, dtype=np.float32)
    counts = np.zeros(shape, dtype=np.float32)
    for _ in range(int(rng.integers(0, 3))):
        angle, thickness = rng.uniform(-0.5, 0.5), rng.uniform(1.0, 3.0)
        offset = (rows - rng.uniform(top, height)) * np.cos(angle) - (
            columns - rng.uniform(0, width)
        ) * np.sin(angle)
        counts += rng.uniform(30, 90) * np.clip(thickness - np.abs(offset) + 0.5, 0, 1)
    for _ in range(int(rng.integers(1, 6))):
        y, x = rng.uniform(top, height), rng.uniform(0, width)
        # Perspective: what is farther is smaller, and never as small as a target.
        scale = 0.35 + 0.65 * (y - top) / max(height - top, 1)
        half_height, half_width = max(3.0, rng.uniform(4, 8) * scale), max(6.0, rng.uniform(8, 20) * scale)
        slope = rng.uniform(-0.3, 0.3)
        down = np.abs(rows - y - slope * (columns - x))
        inside = np.clip(half_height - down + 0.5, 0, 1) * np.clip(
            half_width - np.abs(columns - x) + 0.5, 0, 1
        )
        counts += rng.uniform(-60, 90) * inside
    return counts
