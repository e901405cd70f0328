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

def take_turns_backwards(wanted: bool) -> None:
    """Whether kernels run on this thread of the host let their last thread go first in each phase."""

def conv_block(arguments: dict[str, Any], stream: int | None = None) -> None:
    """``arguments`` are the fields of ``ConvBlockArgs``, addresses as integers.

    Without ``stream`` run on the host, with host memory; with one, a ``cudaStream_t``, queued, with device memory.

    Raises:
        ValueError: Fields that no kernel runs.
        RuntimeError: CUDA refuses.
    """

def residual_block(arguments: dict[str, Any], stream: int | None = None) -> None:
    """The same with the fields of ``ResidualBlockArgs``."""

def standardise_phases(arguments: dict[str, Any], on_gpu: bool, stream: int | None = None) -> None:
    """Run the kernel bodies on host memory; ``arguments`` is made in `standardise.cuda_impl`.

    With ``stream``, a ``cudaStream_t``, the launches are queued, all addresses are device memory, and ``on_gpu`` is
    not looked at.
    """

def standardise_phases_bytes(arguments: dict[str, Any]) -> int:
    """Bytes of workspace that these arguments need; 0 when they do not fit."""

def extract_targets_phases(arguments: dict[str, Any], on_gpu: bool, stream: int | None = None) -> None:
    """The same; ``arguments`` is made in `extract_targets.cuda_impl`."""

def extract_targets_phases_bytes(arguments: dict[str, Any]) -> tuple[int, int]:
    """Bytes of workspace for the batch (0 when the arguments do not fit), and of one frame's header and records."""

def affine_modulate_phases(arguments: dict[str, Any], stream: int | None = None) -> None:
    """One launch; ``arguments`` has the names of ``csrc/affine_modulate.h``, addresses as integers.

    Without ``stream`` the kernel's body runs here, on host memory; with one, a ``cudaStream_t``, the launch is queued
    on it, and every address is device memory.

    Raises:
        ValueError: Arguments that no kernel runs.
        RuntimeError: CUDA refuses.
    """

def samf_split_phases(arguments: dict[str, Any], stream: int | None = None) -> None:
    """The same with the names of ``SamfSplitArgs`` of ``csrc/samf_fuse.h``."""

def samf_join_phases(arguments: dict[str, Any], stream: int | None = None) -> None:
    """The same with the names of ``SamfJoinArgs``."""

class RuntimeFailure(RuntimeError):
    """A call of ``pitviper.h`` that failed; ``args`` are its status and its sentence."""

def runtime_open(plan: bytes, device: str, half: int, threshold: float, max_targets: int) -> int:
    """The handle of a detector; -1 stands for the default of ``half`` and ``threshold``."""

def runtime_prepare(handle: int, height: int, width: int) -> None: ...
def runtime_submit(
    handle: int, address: int, layout: tuple[int, int, int, int], place: int, stream: int, id: int
) -> None:
    """``layout`` is pv_type, height, width, row bytes; ``place`` a pv_place."""

def runtime_poll(
    handle: int, wait: bool, capacity: int
) -> (
    tuple[
        int,
        tuple[int, int],
        int,
        npt.NDArray[np.float64],
        npt.NDArray[np.float32],
        npt.NDArray[np.int32],
        npt.NDArray[np.float32],
        npt.NDArray[np.float32],
        npt.NDArray[np.float32],
    ]
    | None
):
    """Id, (H, W), components found, then xy, xyxy, area, peak, mean, snr; None if no frame is finished."""

def runtime_map(handle: int, address: int, count: int) -> None: ...
def runtime_network(handle: int, address: int, out: int, height: int, width: int, log_odds: bool) -> None: ...
def runtime_profile(
    handle: int, address: int, layout: tuple[int, int, int, int], place: int, stream: int, capacity: int
) -> tuple[bool, list[tuple[str, int, float]]]:
    """Whether the times are of CUDA events, then operation, channels and milliseconds of each launch."""

def runtime_set_threshold(handle: int, threshold: float) -> None: ...
def runtime_describe(handle: int) -> dict[str, object]: ...
def runtime_close(handle: int) -> None: ...
