# SPDX-License-Identifier: Apache-2.0
"""Host memory at the alignment that the kernel bodies ask for."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

_ALIGNMENT: Final = 16


def aligned_empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array of ``shape`` in C order whose first element lies at a multiple of 16 bytes; its values are arbitrary."""
    wanted = np.dtype(dtype)
    size = math.prod(shape) * wanted.itemsize
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(wanted).reshape(shape)
