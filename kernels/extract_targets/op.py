# SPDX-License-Identifier: Apache-2.0
"""The public `extract_targets`: checks the arguments and chooses the backend."""

from __future__ import annotations

import operator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pitviper.kernels import checks, native, registry
from pitviper.kernels.extract_targets import cuda_impl, host_impl, reference
from pitviper.kernels.extract_targets.targets import Targets

_MOST_PIXELS: Final = 2**31 - 1


def extract_targets(
    probability: npt.NDArray[np.float32],
    frame: npt.NDArray[Any] | None = None,
    threshold: float = 0.5,
    *,
    max_targets: int = 256,
    backend: registry.BackendChoice = "auto",
) -> Targets:
    """The targets in one probability map: the 8-connected components of ``probability > threshold``.

    Args:
        probability: float32 [H, W], finite. Rows may be apart, so the map of a padded frame is passed as the
            view ``padded[:H, :W]`` without a copy. Never written to.
        frame: the raw frame [H, W] (uint8, uint16, float16 or float32) that the contrast is measured in;
            None leaves `Targets.snr` NaN.
        threshold: 0 to 1; a pixel belongs to a target when it is strictly higher (compared in float64).
        max_targets: at most so many are returned, at least 1: those with the highest peaks, ties by the
            higher mean, then by raster order.
        backend: ``"auto"``, ``"host"`` (C++), ``"numpy"`` (the definition) or ``"cuda"`` (a GPU; copies map and frame
            there, for which ``"auto"`` never takes it). ``"cuda"`` takes maps of at most 2^24 values of at most 1,
            thresholds from 2^-16 and ``max_targets`` up to 65535.

    Raises:
        TypeError: an argument is no numpy array or has another dtype.
        ValueError: wrong or unequal shapes, NaN or infinite values (with their count), threshold or
            max_targets out of range.
        NativeUnavailable: ``"host"`` or ``"cuda"`` was asked for and the compiled module or a GPU is missing.

    Example:
        >>> probability = np.zeros((6, 8), np.float32)
        >>> probability[2, 3:5] = 0.9
        >>> targets = extract_targets(probability)
        >>> targets.xy.tolist(), targets.xyxy.tolist(), targets.area.tolist()
        ([[4.0, 2.5]], [[3.0, 2.0, 5.0, 3.0]], [2])
    """
    chosen = registry.resolve(backend, "extract_targets")
    probability = _require_probability(probability)
    threshold, max_targets = float(threshold), operator.index(max_targets)
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"threshold must be a probability from 0 to 1, got {threshold}")
    if max_targets < 1:
        raise ValueError(f"max_targets must be at least 1, got {max_targets}")
    max_targets = min(max_targets, probability.size)
    if frame is not None:
        frame = checks.require_frame(frame)
        if frame.shape != probability.shape:
            raise ValueError(
                f"frame {frame.shape} and probability {probability.shape} must have the same shape; "
                f"crop the map of a padded frame with probability[:H, :W]"
            )
        count = native.count_nonfinite if chosen == "host" else checks.count_nonfinite
        checks.refuse_nonfinite(count(frame), "frame", frame.size)
    if chosen == "host":
        return host_impl.extract_targets_host(probability, frame, threshold, max_targets)
    checks.refuse_nonfinite(checks.count_nonfinite(probability), "probability", probability.size)
    if chosen == "cuda":
        there = None if frame is None else np.ascontiguousarray(frame)[None]
        maps = np.ascontiguousarray(probability)[None]
        found = cuda_impl.extract_targets_phases(maps, there, threshold, max_targets=max_targets, on_gpu=True)
        return found.targets(0)
    return reference.extract_targets_reference(probability, frame, threshold, max_targets)


def _require_probability(value: object) -> npt.NDArray[np.float32]:
    probability = checks.require_array(value, "probability")
    if probability.dtype != np.float32:
        raise TypeError(
            f"probability must be float32, got {probability.dtype}; "
            f"convert it with probability.astype(np.float32)"
        )
    if probability.size > _MOST_PIXELS:
        raise ValueError(
            f"probability has {probability.size} pixels, at most {_MOST_PIXELS} fit; split it into tiles"
        )
    return checks.readable(probability)
