# SPDX-License-Identifier: Apache-2.0
"""What every metric demands of its input, and the one comparison that turns a probability into a prediction."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Vectorised sigmoids of some runtimes end one or two float32 steps above 1; that is no logit and counts as 1.
_ROUNDING = 1e-6


def check_mask(mask: ArrayLike, name: str = "mask") -> NDArray[np.bool_]:
    """Return a bool mask [H, W] or say what is wrong with it.

    Raises:
        TypeError: The array is not bool.
        ValueError: The array is not two-dimensional or has no pixel.
    """
    array = np.asarray(mask)
    if array.dtype != np.bool_:
        raise TypeError(
            f"{name} must be bool [H, W], got {array.dtype}; write `{name} > 127` for a gray image"
        )
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must be [H, W] with at least one pixel, got shape {array.shape}")
    return array


def check_pair(probability: ArrayLike, truth: ArrayLike) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Check one probability map [H, W] against its truth [H, W].

    Returns:
        The floating-point probability in [0, 1] (a bool map becomes float32, a value above 1 by rounding becomes 1) and
        the bool truth, both [H, W].

    Raises:
        TypeError: ``probability`` is neither floating-point nor bool, or ``truth`` is not bool.
        ValueError: The shapes differ, or the probability holds NaN or a value outside [0, 1].
    """
    mask = check_mask(truth, "truth")
    array = np.asarray(probability)
    if array.dtype == np.bool_:
        array = array.astype(np.float32)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(
            f"probability must be floating-point or bool [H, W], got {array.dtype}; divide by its maximum value"
        )
    if array.shape != mask.shape:
        raise ValueError(
            f"probability {array.shape} and truth {mask.shape} must have the same [H, W]; "
            "crop the network's padding first, never resize"
        )
    low, high = float(array.min()), float(array.max())
    if np.isnan(low):
        raise ValueError(
            f"probability holds {int(np.isnan(array).sum())} NaN of {array.size} values; fix the network"
        )
    if 1.0 < high <= 1.0 + _ROUNDING:
        array = np.minimum(array, array.dtype.type(1))
        high = 1.0
    if low < 0.0 or high > 1.0:
        raise ValueError(
            f"probability must lie in [0, 1], got {low:g} to {high:g}; apply the sigmoid to logits first"
        )
    return array, mask


def above(probability: NDArray[Any], threshold: float) -> NDArray[np.bool_]:
    """``probability > threshold``, strictly, with the threshold rounded to the type of the map.

    0.3 stored as float32 is larger than 0.3 as float64: without the rounding a pixel of exactly 0.3 would be predicted
    in float32 and not in float64.
    """
    mask: NDArray[np.bool_] = probability > probability.dtype.type(threshold)
    return mask
