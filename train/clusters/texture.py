# SPDX-License-Identifier: Apache-2.0
"""Descriptors that scikit-image computes: edges, corners, texture and two classes of brightness."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from pitviper.train.extras import library

Gray = NDArray[np.float64]
Numbers = dict[str, float]

_LEVELS = 32
_DISTANCES = (1, 2, 4)
_ANGLES = (0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
_MOST_CORNERS = 1000
_EPS = 1e-12


def skimage(part: str) -> Any:
    """A module of scikit-image.

    Raises:
        ImportError: It cannot be imported; the message names the extra.
    """
    return library(
        f"skimage.{part}",
        need="descriptors of images need scikit-image",
        otherwise="train with --bilevel none and no clusters",
    )


def auto_canny(gray: Gray) -> NDArray[np.bool_]:
    """Edges with thresholds of 0.66 and 1.33 times the median brightness."""
    median = float(np.median(gray))
    edges: NDArray[np.bool_] = skimage("feature").canny(
        gray, sigma=1.0, low_threshold=max(0.66 * median, 1.0), high_threshold=max(1.33 * median, 2.0)
    )
    return edges


def densities(gray: Gray) -> Numbers:
    """Edges by pixel; corners and local maxima by million pixels."""
    feature = skimage("feature")
    response = feature.corner_shi_tomasi(gray, sigma=1.5)
    corners = feature.corner_peaks(response, min_distance=3, threshold_rel=0.01, num_peaks=_MOST_CORNERS)
    peaks = (
        (gray == ndimage.maximum_filter(gray, 3)) & (gray >= gray.mean() + gray.std()) & (gray > gray.min())
    )
    return {
        "edge_density": auto_canny(gray).mean(),
        "corner_density": 1e6 * len(corners) / gray.size,
        "peak_density": 1e6 * peaks.sum() / gray.size,
    }


def texture(gray: Gray) -> Numbers:
    """Co-occurrence of gray levels, local binary patterns and Gabor energies."""
    feature = skimage("feature")
    levels = np.minimum(gray * (_LEVELS / 256), _LEVELS - 1).astype(np.uint8)
    matrix = feature.graycomatrix(levels, _DISTANCES, _ANGLES, levels=_LEVELS, symmetric=True, normed=True)
    properties = {
        f"glcm_{name}": feature.graycoprops(matrix, name).mean()
        for name in ("contrast", "homogeneity", "energy", "correlation")
    }
    shares = np.where(matrix > 0, matrix, 1.0)
    codes = feature.local_binary_pattern(gray.astype(np.uint8), 8, 1, method="uniform").astype(int)
    patterns = np.bincount(codes.ravel(), minlength=10) / codes.size
    energies = np.array([np.abs(signal.fftconvolve(gray, k, mode="same")).mean() for k in _gabor_kernels()])
    return {
        **properties,
        "glcm_entropy": -(shares * np.log2(shares)).sum(axis=(0, 1)).mean(),
        "lbp_entropy": -(patterns[patterns > 0] * np.log2(patterns[patterns > 0])).sum(),
        "lbp_uniformity": (patterns**2).sum(),
        "lbp_largest": patterns.max(),
        "lbp_used": float((patterns > 0).sum()),
        "gabor_mean": energies.mean(),
        "gabor_std": energies.std(),
        "gabor_anisotropy": (energies.max() - energies.min()) / (energies.max() + energies.min() + _EPS),
    }


def two_classes(gray: Gray) -> Numbers:
    """Otsu's threshold, the share of brighter pixels, and the variance between both classes."""
    if gray.max() <= gray.min():
        return {"otsu": np.nan, "otsu_share": np.nan, "otsu_variance": np.nan}
    threshold = float(skimage("filters").threshold_otsu(gray))
    above = gray > threshold
    share = above.mean()
    difference = gray[above].mean() - gray[~above].mean() if 0 < share < 1 else 0.0
    return {"otsu": threshold, "otsu_share": share, "otsu_variance": share * (1 - share) * difference**2}


@cache
def _gabor_kernels() -> tuple[Gray, ...]:
    """Kernels 21x21 of deviation 4, wavelengths 4 and 8, four orientations and an aspect of 0.5; their sum is 0."""
    rows, columns = np.mgrid[-10:11, -10:11]
    kernels = []
    for wavelength in (4.0, 8.0):
        for angle in _ANGLES:
            along = columns * np.cos(angle) + rows * np.sin(angle)
            across = -columns * np.sin(angle) + rows * np.cos(angle)
            kernel = np.exp(-(along**2 + (0.5 * across) ** 2) / 32.0) * np.cos(2 * np.pi * along / wavelength)
            kernels.append(kernel - kernel.mean())
    return tuple(kernels)
