# SPDX-License-Identifier: Apache-2.0
"""Checks of the maps and weights that the convolutions are given as NumPy arrays."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pitviper.kernels.conv_block.reference import Convolution, Head, Merge

Array = npt.NDArray[Any]

DTYPES: Final = {"float32": 0, "float16": 1, "bfloat16": 2}
"""Types of maps, with their numbers in ``csrc/numbers.h``. NumPy knows bfloat16 once ``ml_dtypes`` is imported."""
LOGITS: Final = np.dtype(np.float32)
"""Type of what a head gives."""
CHANNELS: Final = 16
"""Channels of every map are a multiple of it: what a tensor core takes in one step."""


def require_map(value: object, name: str, *, like: Array | None = None, frame: bool = False) -> Array:
    """``value`` as a map [N, H, W, C] in C order; the same memory when it already is so, otherwise a copy.

    Args:
        like: Map whose dtype it must have.
        frame: A frame [N, H, W] is allowed as well.

    Raises:
        TypeError: No numpy array, or another dtype.
        ValueError: Another number of axes, an empty side or C no multiple of 16. N may be 0.
    """
    axes = "[N, H, W, C] or a frame [N, H, W]" if frame else "[N, H, W, C]"
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a numpy array {axes}, got {type(value).__name__}; use np.asarray")
    if value.dtype.name not in DTYPES or not value.dtype.isnative:
        raise TypeError(f"{name} must be float32, float16 or bfloat16, got {value.dtype}; convert it")
    if like is not None and value.dtype != like.dtype:
        raise TypeError(f"{name} must be {like.dtype} like x, got {value.dtype}; convert it")
    if value.ndim != 4 and not (frame and value.ndim == 3):
        raise ValueError(f"{name} must be {axes}, got shape {value.shape}")
    if 0 in value.shape[1:]:
        raise ValueError(f"{name} has no pixel (shape {value.shape})")
    if value.ndim == 4 and value.shape[3] % CHANNELS:
        raise ValueError(
            f"{name} must have a multiple of {CHANNELS} channels, got {value.shape[3]}; fill up with zeros"
        )
    return aligned(value)


def aligned(array: Array) -> Array:
    """``array`` in C order at an address that is a multiple of 16; a copy only where it has to be one."""
    if array.flags.c_contiguous and array.ctypes.data % 16 == 0:
        return array
    result = empty(array.shape, array.dtype)
    result[...] = array
    return result


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """A new array at an address that is a multiple of 16, which NumPy itself does not promise."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    block = np.empty(size + 16, np.uint8)
    start = -block.ctypes.data % 16
    return block[start : start + size].view(kind).reshape(shape)


def require_shape(value: Array, name: str, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless ``value`` has this shape."""
    if value.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {value.shape}")


def require_parameter(value: object, name: str, shape: tuple[int, ...]) -> Array:
    """Weights or bias: float32 in C order of this shape.

    Raises:
        TypeError: No float32 array.
        ValueError: Another shape, NaN or infinite values.
    """
    if not isinstance(value, np.ndarray) or value.dtype != np.float32:
        found = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise TypeError(f"{name} must be a float32 numpy array {shape}, got {found}")
    require_shape(value, name, shape)
    if not np.isfinite(value).all():
        raise ValueError(f"{name} has NaN or infinite values")
    return np.ascontiguousarray(value)


def require_convolution(convolution: object, in_channels: int, name: str = "convolution") -> Convolution:
    """A convolution of ``in_channels`` whose parameters fit together.

    Raises:
        TypeError: Another type.
        ValueError: Shapes or settings that no kernel runs; the message names them.
    """
    if not isinstance(convolution, Convolution):
        raise TypeError(f"{name} must be a Convolution, got {type(convolution).__name__}")
    shape = np.shape(convolution.weight)
    if len(shape) != 4 or shape[2] != shape[3] or shape[2] not in (1, 3) or 0 in shape:
        raise ValueError(f"{name}.weight must be [C_out, C_in, k, k] with k 1 or 3, got shape {shape}")
    if shape[0] % CHANNELS:
        raise ValueError(
            f"{name} must have a multiple of {CHANNELS} outputs, got {shape[0]}; fill up with zeros"
        )
    if shape[1] != in_channels:
        raise ValueError(f"{name}.weight {shape} takes {shape[1]} channels, the map has {in_channels}")
    require_parameter(convolution.weight, f"{name}.weight", shape)
    require_parameter(convolution.bias, f"{name}.bias", shape[:1])
    if convolution.stride not in (1, 2) or convolution.upsample not in (1, 2):
        raise ValueError(
            f"{name}: stride and upsample must be 1 or 2, got {convolution.stride} and {convolution.upsample}"
        )
    if convolution.upsample == 2 and (shape[2] != 1 or convolution.stride != 1):
        raise ValueError(f"{name}: upsample 2 needs a 1x1 convolution with stride 1")
    return convolution


def require_merge(merge: Merge, x: Array) -> Merge:
    """A merge that fits the map ``x``, its ``low`` in C order."""
    if x.ndim != 4:
        raise ValueError(f"a merge needs a map [N, H, W, C], got a frame of shape {x.shape}")
    n, height, width, channels = x.shape
    if merge.scale not in (1, 2) or height % merge.scale or width % merge.scale:
        raise ValueError(
            f"merge.scale must be 1 or 2 and divide the rows and columns of x, got {merge.scale} and {x.shape}"
        )
    low = require_map(merge.low, "merge.low", like=x)
    if low.shape[3] > 128:
        raise ValueError(f"merge.low must have at most 128 channels, got {low.shape[3]}")
    require_shape(low, "merge.low", (n, height // merge.scale, width // merge.scale, low.shape[3]))
    outputs = channels * (2 if merge.affine else 1)
    weight = require_parameter(merge.weight, "merge.weight", (outputs, low.shape[3], 1, 1))
    bias = require_parameter(merge.bias, "merge.bias", (outputs,))
    return Merge(low, weight, bias, merge.scale, merge.relu, merge.affine, merge.strength)


def require_head(head: Head, like: Array, shape: tuple[int, int, int, int]) -> Head:
    """A head for a result [N, H, W, C] of ``shape``, its ``coarse`` in C order and of the dtype of ``like``."""
    n, height, width, channels = shape
    outputs = len(head.weight) if isinstance(head.weight, np.ndarray) else 0
    if outputs not in (1, 4) or channels not in (16, 32, 48, 64):
        raise ValueError(
            f"a head needs weight [1, C] or [4, C] and C of 16, 32, 48 or 64, got {np.shape(head.weight)} "
            f"after a convolution of {channels} outputs"
        )
    weight = require_parameter(head.weight, "head.weight", (outputs, channels))
    bias = require_parameter(head.bias, "head.bias", (outputs,))
    if head.coarse is None or head.coarse_weight is None:
        if head.coarse is not head.coarse_weight:
            raise ValueError("head.coarse and head.coarse_weight go together; give both or none")
        return Head(weight, bias)
    if outputs == 1 and (height % 2 or width % 2):
        raise ValueError(f"head.coarse needs an even number of rows and columns, got {height} and {width}")
    coarse = require_map(head.coarse, "head.coarse", like=like)
    if coarse.shape[3] > 128:
        raise ValueError(f"head.coarse must have at most 128 channels, got {coarse.shape[3]}")
    half = (height, width) if outputs == 4 else (height // 2, width // 2)
    require_shape(coarse, "head.coarse", (n, *half, coarse.shape[3]))
    return Head(
        weight,
        bias,
        coarse,
        require_parameter(head.coarse_weight, "head.coarse_weight", (4, coarse.shape[3])),
    )


def require_out(out: object, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """An array that a result of this shape and dtype can be written to."""
    fix = f"leave out away, or make it with maps.empty({shape}, {np.dtype(dtype)})"
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        found = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"out must be a numpy array of {np.dtype(dtype)}, got {found}; {fix}")
    require_shape(out, "out", shape)
    if not (out.flags.c_contiguous and out.flags.writeable) or out.ctypes.data % 16:
        raise ValueError(f"out must be writeable, in C order and 16-byte aligned; {fix}")
    return out
