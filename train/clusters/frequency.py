# SPDX-License-Identifier: Apache-2.0
"""Descriptors of frequencies and scales."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pitviper.train.clusters.texture import auto_canny

Gray = NDArray[np.float64]
Numbers = dict[str, float]

_EPS = 1e-12
_HIGH = 0.3
_SKIPPED = 2
_SIGMAS = (1.0, 2.0, 4.0, 8.0)


def spectrum(gray: Gray) -> Numbers:
    """Shape of the radial power spectrum of a frame [H, W]; frequencies in cycles per pixel."""
    window = np.outer(np.hanning(gray.shape[0]), np.hanning(gray.shape[1]))
    power = np.abs(np.fft.fft2((gray - gray.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(gray.shape[0])[:, None], np.fft.fftfreq(gray.shape[1])[None, :])
    total = power.sum()
    if total <= _EPS:
        return dict.fromkeys(
            ("psd_slope", "psd_high", "psd_centroid", "psd_bandwidth", "psd_flatness"), np.nan
        )
    bins = max(min(gray.shape) // 2, 8)
    place = np.minimum((radius / 0.5 * bins).astype(int), bins)
    counts = np.bincount(place.ravel(), minlength=bins + 1)
    radial = np.bincount(place.ravel(), power.ravel(), minlength=bins + 1) / np.maximum(counts, 1)
    centres = (np.arange(bins + 1) + 0.5) * 0.5 / bins
    first, last = max(_SKIPPED, round(0.1 * bins)), round(0.9 * bins)
    used = slice(first, max(last, first + 2))
    slope = np.polyfit(np.log(centres[used]), np.log(radial[used] + _EPS), 1)[0]
    centroid = (radius * power).sum() / total
    flat = radial[_SKIPPED:bins] + _EPS
    return {
        "psd_slope": slope,
        "psd_high": power[radius > _HIGH].sum() / total,
        "psd_centroid": centroid,
        "psd_bandwidth": np.sqrt(((radius - centroid) ** 2 * power).sum() / total),
        "psd_flatness": np.exp(np.log(flat).mean()) / flat.mean(),
    }


def scales(gray: Gray) -> Numbers:
    """How variance falls with the scale, and how edges fill the plane."""
    variances = np.array([ndimage.gaussian_filter(gray, sigma).var() for sigma in _SIGMAS])
    slope = np.polyfit(np.log(_SIGMAS), np.log(variances + _EPS), 1)[0] if variances[0] > _EPS else np.nan
    return {
        "scale_slope": slope,
        "scale_ratio": variances[-1] / variances[0] if variances[0] > _EPS else np.nan,
        "edge_fractal": _box_dimension(auto_canny(gray)),
    }


def _box_dimension(edges: NDArray[np.bool_]) -> float:
    """Slope of the logarithm of the boxes that hold an edge, against that of the boxes along a side."""
    if not edges.any():
        return 0.0
    sides = [s for s in (2, 4, 8, 16, 32) if s <= min(edges.shape) // 2]
    counts = []
    for side in sides:
        rows, columns = -(-edges.shape[0] // side), -(-edges.shape[1] // side)
        padded = np.zeros((rows * side, columns * side), np.bool_)
        padded[: edges.shape[0], : edges.shape[1]] = edges
        counts.append(padded.reshape(rows, side, columns, side).any(axis=(1, 3)).sum())
    if len(sides) < 2:
        return float("nan")
    return float(np.polyfit(-np.log(sides), np.log(counts), 1)[0])
