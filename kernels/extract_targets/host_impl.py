# SPDX-License-Identifier: Apache-2.0
"""`extract_targets` in C++: hands addresses to ``csrc/extract_targets_host.cpp``; the GIL is released."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pitviper.kernels import checks, native
from pitviper.kernels.extract_targets import reference
from pitviper.kernels.extract_targets.targets import Targets
from pitviper.kernels.robust import MAD_TO_DEVIATION

RING = (
    reference.RING_GAP,
    reference.RING_REACH,
    reference.RING_FEWEST,
    MAD_TO_DEVIATION,
)


def extract_targets_host(
    probability: npt.NDArray[np.float32],
    frame: npt.NDArray[Any] | None,
    threshold: float,
    max_targets: int,
) -> Targets:
    """The targets of one map. The arguments are already checked, except that the map is finite.

    Raises:
        ValueError: the map holds NaN or infinite values; they are counted during the search.
    """
    raw = (0, "f", 0) if frame is None else (frame.ctypes.data, frame.dtype.char, frame.strides[0])
    nonfinite, total, xy, xyxy, area, peak, mean, snr = native.load().extract_targets(
        probability.ctypes.data,
        probability.shape,
        probability.strides[0],
        raw,
        threshold,
        max_targets,
        RING,
    )
    checks.refuse_nonfinite(nonfinite, "probability", probability.size)
    return Targets(xy, xyxy, area, peak, mean, snr, truncated=total > max_targets, total=total)
