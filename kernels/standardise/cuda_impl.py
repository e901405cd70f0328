# SPDX-License-Identifier: Apache-2.0
"""The kernel bodies of `standardise`: on a GPU as the backend ``cuda``, on the host for proof.

The host form (``on_gpu=False``) runs the same C++ phases one thread after another. It is no backend: ``host`` is the
fast code for the CPU. Frames and results are NumPy arrays in both cases.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pitviper.kernels import checks, memory, native
from pitviper.kernels.standardise.reference import BOX, DEVIATION_WEIGHT, RESIDUAL_WEIGHT

DTYPES: Final = {np.dtype(np.float32): 0, np.dtype(np.float16): 1}
"""What the kernels write, by the number that ``csrc/numbers.h`` gives it; bfloat16 has none in NumPy."""
STATISTICS: Final = np.dtype([("mean", np.float64), ("scale", np.float64), ("nonfinite", np.int64)])
"""``FrameStatistics`` of ``csrc/standardise.h``."""


def standardise_phases(
    frames: npt.NDArray[Any],
    shape: tuple[int, int],
    *,
    dtype: npt.DTypeLike = np.float32,
    block: int = 1,
    channels: int = 1,
    on_gpu: bool = False,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Standardised frames and what was measured in each.

    Args:
        frames: [B, H, W] of one of `checks.FRAME_DTYPES`, columns adjacent. NaN and infinite values are counted, and
            make their frame NaN.
        shape: (Hp, Wp) of the padded result.
        dtype: float32 or float16.
        block: 1, or 2 to gather 2 x 2 pixels in one cell (space-to-depth).
        channels: 1, or a multiple of 8 that cells are filled up to with zeros.

    Returns:
        [B, Hp / block, Wp / block, channels] and [B] of `STATISTICS`.

    Raises:
        ValueError: columns are apart, or an argument does not fit, in the words of ``csrc/standardise_phases.cpp``.
        RuntimeError: the GPU refuses.
    """
    checks.require_adjacent(frames, "frames")
    cells = (len(frames), shape[0] // block, shape[1] // block, channels)
    out = memory.aligned_empty(cells, dtype)
    statistics = np.empty(len(frames), STATISTICS)
    given = arguments(frames, out, shape, statistics, block=block)
    module = native.load()
    needed = 0 if on_gpu else module.standardise_phases_bytes(given)
    workspace = memory.aligned_empty((needed,), np.uint8)
    given |= {"workspace": workspace.ctypes.data, "workspace_bytes": workspace.nbytes}
    module.standardise_phases(given, on_gpu)
    return out, statistics


def arguments(
    frames: npt.NDArray[Any],
    out: npt.NDArray[Any],
    shape: tuple[int, int],
    statistics: npt.NDArray[Any],
    *,
    block: int = 1,
) -> dict[str, Any]:
    """``StandardiseArgs`` by the names of ``csrc/frame_bindings.cpp``, without a workspace."""
    return {
        "frames": frames.ctypes.data,
        "type": frames.dtype.char,
        "shape": frames.shape,
        "strides": frames.strides[:2],
        "output": out.ctypes.data,
        "out_dtype": DTYPES[out.dtype],
        "out_shape": shape,
        "block": block,
        "channels": out.shape[-1],
        "rule": (RESIDUAL_WEIGHT, DEVIATION_WEIGHT, BOX),
        "statistics": statistics.ctypes.data,
        "workspace": 0,
        "workspace_bytes": 0,
    }
