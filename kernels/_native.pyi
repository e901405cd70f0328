# SPDX-License-Identifier: Apache-2.0
"""Types of the compiled module. It takes addresses and trusts them: only kernels/ calls it."""

from typing import Any

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

def cuda_archs() -> list[str]:
    """What the device code was compiled for: "sm_87" is machine code, "compute_90" PTX. Empty without nvcc."""

def cuda_missing_reason() -> str:
    """Why no kernel can run on a GPU here; the empty string when one can. Loads the driver."""

def packed_weight_count(out_channels: int, in_channels: int, kernel: int) -> int:
    """Elements of packed weights, channels filled up to multiples of 16."""

def pack_weights(
    weight: int, out_channels: int, in_channels: int, kernel: int, dtype: int, packed: int
) -> None:
    """Write float32 [C_out, C_in, k, k] in the kernels' order; ``dtype`` is a number of ``csrc/numbers.h``."""

def unpack_weights(
    packed: int, out_channels: int, in_channels: int, kernel: int, dtype: int, weight: int
) -> None:
    """The inverse of ``pack_weights``."""

def conv_block(arguments: dict[str, Any]) -> None:
    """Run on the host. ``arguments`` are the fields of ``ConvBlockArgs``, addresses as integers.

    Raises:
        ValueError: Fields that no kernel runs.
    """

def residual_block(arguments: dict[str, Any]) -> None:
    """Run on the host. ``arguments`` are the fields of ``ResidualBlockArgs``, addresses as integers.

    Raises:
        ValueError: Fields that no kernel runs.
    """
