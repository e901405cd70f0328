# SPDX-License-Identifier: Apache-2.0
"""The deviation of noise that outliers, such as targets, do not enlarge."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAD_TO_DEVIATION", "robust_deviation"]

MAD_TO_DEVIATION: Final = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation, 1 / Phi^-1(3/4) (Hampel, 1974)."""


def robust_deviation(values: NDArray[Any], *, about: float | None = None) -> float:
    """`MAD_TO_DEVIATION` times the median absolute deviation, in the unit of the values.

    Args:
        values: Floats or signed integers of any shape, at least one, none NaN.
        about: What deviations are measured from; None takes the median.
    """
    centre = np.median(values) if about is None else about
    return MAD_TO_DEVIATION * float(np.median(np.abs(values - centre)))
