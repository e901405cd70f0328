# SPDX-License-Identifier: Apache-2.0
"""What an infrared picture is like, in 55 numbers: contrast, gradients, texture, frequencies, noise and light.

Source: the features that "Learning with Semantic Priors" (arXiv 2605.14346) groups its training images by.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pitviper.core.atomic import write_whole
from pitviper.core.datasets import Sample, read_sample
from pitviper.kernels.robust import robust_deviation
from pitviper.train.clusters import frequency, texture

Gray = NDArray[np.float64]
Numbers = dict[str, float]

VERSION = 1
"""Of the definitions; a cache of another version is computed anew."""

_TAILS = (0.1, 99.9)
_EPS = 1e-12


def to_gray(frame: NDArray[Any]) -> Gray:
    """A frame [H, W] in [0, 255]: uint8 as it is, other types linearly from their 0.1 to their 99.9 percentile."""
    if frame.dtype == np.uint8:
        return np.asarray(frame, np.float64)
    low, high = np.percentile(frame.astype(np.float64), _TAILS)
    if high <= low:
        return np.full(frame.shape, 128.0)
    scaled = (frame.astype(np.float64) - low) * (255.0 / (high - low))
    clipped: Gray = np.clip(scaled, 0.0, 255.0)
    return clipped


def describe(frame: NDArray[Any]) -> Numbers:
    """Every descriptor of a frame [H, W] by its name, in a fixed order.

    A number that a frame does not have (the skewness of a constant one) is NaN.

    Raises:
        ImportError: scikit-image cannot be imported.
    """
    gray = to_gray(frame)
    with np.errstate(divide="ignore", invalid="ignore"):
        numbers: Numbers = {"width": float(frame.shape[1]), "height": float(frame.shape[0])}
        for group in _GROUPS:
            numbers |= group(gray)
    return {name: float(value) if np.isfinite(value) else float("nan") for name, value in numbers.items()}


def descriptor_table(
    samples: Iterable[Sample], cache: Path | None = None
) -> tuple[list[str], NDArray[np.float64]]:
    """Names of the descriptors and one row for each sample, [N, 55].

    Args:
        samples: In order.
        cache: JSON file of rows by the SHA-256 of the frame's file; read where it is there, and written with what was
            missing.

    Raises:
        DatasetError: A frame cannot be read.
        ImportError: scikit-image cannot be imported.
    """
    known = _read_cache(cache)
    names: list[str] = list(known.get("names", ()))
    rows: dict[str, list[float | None]] = dict(known.get("rows", {}))
    wanted, computed = [], False
    for sample in samples:
        key = hashlib.sha256(sample.frame.read_bytes()).hexdigest()
        if key not in rows:
            found = describe(read_sample(sample)[0])
            names, computed = list(found), True
            rows[key] = [None if np.isnan(value) else value for value in found.values()]
        wanted.append(rows[key])
    if cache is not None and computed:
        content = {"version": VERSION, "names": names, "rows": rows}
        write_whole(cache, (json.dumps(content) + "\n").encode())
    return names, np.array(wanted, np.float64).reshape(len(wanted), len(names))


def _read_cache(cache: Path | None) -> dict[str, Any]:
    if cache is None or not cache.is_file():
        return {}
    try:
        content = json.loads(cache.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{cache} is no cache of descriptors ({error}); delete it") from error
    return content if isinstance(content, dict) and content.get("version") == VERSION else {}


def _statistics(gray: Gray) -> Numbers:
    flat = gray.ravel()
    mean, deviation = flat.mean(), flat.std()
    histogram = np.bincount(np.clip(flat, 0, 255).astype(np.int64), minlength=256) / flat.size
    ordered = np.sort(flat)
    ranks = np.arange(1, flat.size + 1)
    normal = (flat - mean) / deviation if deviation > _EPS else np.full(flat.shape, np.nan)
    p05, p25, p75 = np.percentile(flat, (5, 25, 75))
    return {
        "mean": mean,
        "std": deviation,
        "dynamic_range": flat.max() - flat.min(),
        "rms_contrast": deviation / (mean + _EPS),
        "entropy": entropy(histogram),
        "p05": p05,
        "p25": p25,
        "p75": p75,
        "gini": 2 * (ranks * ordered).sum() / (flat.size * ordered.sum() + _EPS)
        - (flat.size + 1) / flat.size,
        "skewness": (normal**3).mean(),
        "kurtosis": (normal**4).mean() - 3.0,
    }


def _gradients(gray: Gray) -> Numbers:
    dx, dy = ndimage.sobel(gray, axis=1, mode="nearest"), ndimage.sobel(gray, axis=0, mode="nearest")
    magnitude = np.hypot(dx, dy)
    angles = np.arctan2(dy, dx) % np.pi
    histogram, _ = np.histogram(angles, bins=36, range=(0, np.pi), weights=magnitude)
    total = magnitude.sum() + _EPS
    # Length of the mean direction, doubled so that opposite gradients are one orientation.
    along = np.hypot((magnitude * np.cos(2 * angles)).sum(), (magnitude * np.sin(2 * angles)).sum()) / total
    band = magnitude >= np.percentile(magnitude, 90)
    return {
        "laplacian_variance": ndimage.laplace(gray, mode="nearest").var(),
        "tenengrad": (magnitude**2).mean(),
        "sobel_mean": magnitude.mean(),
        "sobel_std": magnitude.std(),
        "orientation_entropy": entropy(histogram / total),
        "edge_anisotropy": along,
        "edge_band_gradient": magnitude[band].mean(),
    }


def _light(gray: Gray) -> Numbers:
    smooth = ndimage.gaussian_filter
    residual = gray - smooth(gray, 1.2)
    noise = robust_deviation(residual)
    spread = gray.max() - gray.min()
    p50, p95, p99 = np.percentile(gray, (50, 95, 99))
    robust = robust_deviation(gray, about=p50) + 1.0
    local = smooth(gray, 7 / 6)
    deviation = np.sqrt(np.abs(smooth(gray**2, 7 / 6) - local**2))
    mscn = (gray - local) / (deviation + 1.0)
    variance = mscn.var()
    return {
        "noise": noise,
        "shading": smooth(gray, 21).std() / (spread + _EPS),
        "band_energy": np.abs(smooth(gray, 1.5) - smooth(gray, 7)).mean(),
        "highlight_95": (p95 - p50) / robust,
        "highlight_99": (p99 - p50) / robust,
        "mscn_mean": mscn.mean(),
        "mscn_variance": variance,
        "mscn_kurtosis": ((mscn - mscn.mean()) ** 4).mean() / (variance**2 + _EPS) - 3.0,
        "mscn_pairs": (mscn[:, :-1] * mscn[:, 1:]).mean(),
    }


def entropy(shares: NDArray[np.float64]) -> float:
    """Shannon entropy in bits of shares that sum to 1."""
    positive = shares[shares > 0]
    return float(-(positive * np.log2(positive)).sum())


_GROUPS: tuple[Callable[[Gray], Numbers], ...] = (
    _statistics,
    _gradients,
    texture.densities,
    texture.texture,
    frequency.spectrum,
    frequency.scales,
    _light,
    texture.two_classes,
)
