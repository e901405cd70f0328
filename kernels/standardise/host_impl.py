# SPDX-License-Identifier: Apache-2.0
"""`standardise` in C++: hands addresses to ``csrc/standardise_host.cpp``; the GIL is released."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pitviper.kernels import native
from pitviper.kernels.standardise.reference import BOX, DEVIATION_WEIGHT, RESIDUAL_WEIGHT


def standardise_host(frame: npt.NDArray[Any], out: npt.NDArray[np.float32]) -> None:
    """Write the standardised ``frame`` [H, W] to ``out`` [Hp, Wp], C order. The arguments are checked."""
    native.load().standardise(
        frame.ctypes.data,
        frame.dtype.char,
        frame.shape,
        frame.strides[0],
        out.ctypes.data,
        out.shape,
        (RESIDUAL_WEIGHT, DEVIATION_WEIGHT, BOX),
    )
