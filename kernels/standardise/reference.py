# SPDX-License-Identifier: Apache-2.0
"""The definition of `standardise`, in NumPy. Every other implementation is tested against this file.

The constants below are the only place where they are written: the compiled code receives them as arguments,
and the exported network takes them from here.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

NORMALISATION: Final = "standardise-v1"
"""Name of this definition. A weights file stores it; a change of anything below is a new name."""
RESIDUAL_WEIGHT: Final = 2.0
"""A: weight of the deviation of the high-pass residual in the scale."""
DEVIATION_WEIGHT: Final = 0.1
"""B: weight of the deviation of the whole frame in the scale."""
BOX: Final = 5
"""Side of the box mean that the residual is taken against, in pixels; odd."""


def box_mean(values: npt.NDArray[np.float64], side: int = BOX) -> npt.NDArray[np.float64]:
    """Mean over the ``side`` x ``side`` neighbourhood of each pixel, borders reflected without their edge.

    Args:
        values: [H, W], both larger than ``side // 2``.
    """
    radius = side // 2
    padded = np.pad(values, radius, mode="reflect")
    height, width = values.shape
    rows = sum((padded[k : k + height] for k in range(side)), np.zeros((height, width + 2 * radius)))
    both = sum((rows[:, k : k + width] for k in range(side)), np.zeros((height, width)))
    return both / side**2


def standardise_reference(frame: npt.NDArray[Any], stride: int = 1) -> npt.NDArray[np.float32]:
    """``(x - mean) / (A std(x - box(x)) + B std(x))``, padded by reflection at the bottom and right.

    A frame whose pixels are all equal gives zeros. Deviations are those of the population (divided by n).

    Args:
        frame: [H, W], finite, both sides at least 3 and larger than the padding they need.
        stride: the sides of the result are the next multiples of it.
    """
    deviation = frame.astype(np.float64)
    deviation -= deviation.mean()
    if frame.min() == frame.max():
        deviation[:] = 0.0
    else:
        residual = deviation - box_mean(deviation)
        deviation /= RESIDUAL_WEIGHT * residual.std() + DEVIATION_WEIGHT * deviation.std()
    height, width = frame.shape
    padding = ((0, -height % stride), (0, -width % stride))
    return np.pad(deviation.astype(np.float32), padding, mode="reflect")
