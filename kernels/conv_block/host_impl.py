# SPDX-License-Identifier: Apache-2.0
"""`conv_block` in C++: the GPU's kernel compiled for the host. Hands addresses to ``csrc/conv_block_host.cpp``."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pitviper.kernels import native
from pitviper.kernels.conv_block.maps import CHANNELS, DTYPES, empty
from pitviper.kernels.conv_block.reference import Array, Convolution, Head, Merge

_MAP: Final = 0
_FRAME: Final = {1: 1, 4: 2}  # by the channels that the convolution reads


def pack_weights(weight: npt.NDArray[np.float32], dtype: npt.DTypeLike) -> Array:
    """The order in which the kernels read weights, see ``csrc/conv_weights.h``.

    Args:
        weight: float32 [C_out, C_in, k, k].
        dtype: Type of the maps.

    Returns:
        Array of ``dtype`` [n], channels filled up with zeros to multiples of 16.
    """
    kind = np.dtype(dtype)
    outputs, inputs, side, _ = weight.shape
    module, weight = native.load(), np.ascontiguousarray(weight)
    packed = empty((module.packed_weight_count(outputs, inputs, side),), kind)
    module.pack_weights(weight.ctypes.data, outputs, inputs, side, DTYPES[kind.name], packed.ctypes.data)
    return packed


def unpack_weights(packed: Array, shape: tuple[int, int, int, int]) -> npt.NDArray[np.float32]:
    """The inverse of `pack_weights`: float32 of ``shape`` [C_out, C_in, k, k], rounded to the packed type."""
    outputs, inputs, side, _ = shape
    module = native.load()
    needed = module.packed_weight_count(outputs, inputs, side)
    if packed.shape != (needed,) or not packed.flags.c_contiguous:
        raise ValueError(f"weights of shape {shape} are {needed} packed elements, got {packed.shape}")
    weight = np.empty(shape, np.float32)
    kind = DTYPES[packed.dtype.name]
    module.unpack_weights(packed.ctypes.data, outputs, inputs, side, kind, weight.ctypes.data)
    return weight


def input_arguments(x: Array, in_channels: int) -> dict[str, Any]:
    """What the compiled functions are told of their input: a map, or a frame."""
    side = 2 if x.ndim == 3 and in_channels == 4 else 1
    kind = DTYPES[x.dtype.name]
    return {
        "dtype": kind,
        "frame_dtype": kind,
        "load": _MAP if x.ndim == 4 else _FRAME[in_channels],
        "batch": x.shape[0],
        "height": x.shape[1] // side,
        "width": x.shape[2] // side,
        "in_channels": in_channels,
        "input": x.ctypes.data,
    }


def conv_block_host(
    x: Array,
    convolution: Convolution,
    out: Array,
    *,
    residual: Array | None = None,
    merge: Merge | None = None,
    head: Head | None = None,
) -> None:
    """Write the result, or the logits of a head, to ``out``. The arguments are checked, maps 16-byte aligned."""
    outputs, inputs, side, _ = convolution.weight.shape
    weight, bias = pack_weights(convolution.weight, x.dtype), np.ascontiguousarray(convolution.bias)
    arguments = input_arguments(x, inputs) | {
        "out_channels": outputs,
        "kernel": side,
        "stride": convolution.stride,
        "relu": convolution.relu,
        "upsample": convolution.upsample,
        "weight": weight.ctypes.data,
        "bias": bias.ctypes.data,
        "residual": 0 if residual is None else residual.ctypes.data,
        "output": out.ctypes.data if head is None else 0,
    }
    kept = []  # packed weights that have to outlive the call
    if merge is not None:
        kept.append(pack_weights(merge.weight, x.dtype))
        arguments["merge"] = {
            "affine": merge.affine,
            "scale": merge.scale,
            "relu": merge.relu,
            "strength": merge.strength,
            "low_channels": merge.low.shape[3],
            "low": merge.low.ctypes.data,
            "weight": kept[-1].ctypes.data,
            "bias": merge.bias.ctypes.data,
        }
    if head is not None:
        arguments["head"] = _head_arguments(head, out)
    native.load().conv_block(arguments)


def _head_arguments(head: Head, out: Array) -> dict[str, int]:
    coarse, weight = head.coarse, head.coarse_weight
    return {
        "outputs": len(head.weight),
        "weight": head.weight.ctypes.data,
        "bias": head.bias.ctypes.data,
        "coarse_channels": CHANNELS if coarse is None else coarse.shape[3],
        "coarse": 0 if coarse is None else coarse.ctypes.data,
        "coarse_weight": 0 if weight is None else weight.ctypes.data,
        "logits": out.ctypes.data,
    }
