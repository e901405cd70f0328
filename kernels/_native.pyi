# SPDX-License-Identifier: Apache-2.0
"""Types of the compiled module. It takes addresses and trusts them: only kernels/ calls it."""

import numpy as np
import numpy.typing as npt

__version__: str

def count_nonfinite(address: int, type: str, shape: tuple[int, int], row_bytes: int) -> int:
    """How many values of an array [H, W] of ``type`` (numpy character B, H, e or f) are NaN or infinite."""

def standardise(
    address: int,
    type: str,
    shape: tuple[int, int],
    row_bytes: int,
    out: int,
    out_shape: tuple[int, int],
    rule: tuple[float, float, int],
) -> None:
    """Write the standardised frame to ``out``; ``rule`` is residual weight, deviation weight, box side."""

def extract_targets(
    address: int,
    shape: tuple[int, int],
    row_bytes: int,
    frame: tuple[int, str, int],
    threshold: float,
    max_targets: int,
    rule: tuple[int, int, int, float],
) -> tuple[
    int,
    int,
    npt.NDArray[np.float64],
    npt.NDArray[np.float32],
    npt.NDArray[np.int32],
    npt.NDArray[np.float32],
    npt.NDArray[np.float32],
    npt.NDArray[np.float32],
]:
    """Non-finite values, components, then xy, xyxy, area, peak, mean, snr. ``frame`` is address (0 for
    none), type, row bytes; ``rule`` is ring gap, ring reach, fewest ring pixels, deviation per MAD."""
