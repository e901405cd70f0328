# SPDX-License-Identifier: Apache-2.0
"""Argument checks shared by the operations: one wording for what was given, what is needed and the fix."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

FRAME_DTYPES: Final = (np.uint8, np.uint16, np.float16, np.float32)
"""What a sensor frame may hold: raw counts (any number of valid bits), or floating point."""


def require_array(value: object, name: str) -> npt.NDArray[Any]:
    """``value`` if it is a two-dimensional, non-empty numpy array.

    Raises:
        TypeError: it is no numpy array.
        ValueError: it is not [H, W], or has no pixel.
    """
    if not isinstance(value, np.ndarray) or isinstance(value, np.ma.MaskedArray):
        raise TypeError(
            f"{name} must be a plain numpy array [H, W], got {type(value).__name__}; use np.asarray"
        )
    if value.ndim != 2:
        raise ValueError(f"{name} must be [H, W], got shape {value.shape}; {_dimension_fix(value, name)}")
    if value.size == 0:
        raise ValueError(f"{name} has no pixel (shape {value.shape}); pass at least one row and one column")
    return value


def _dimension_fix(value: npt.NDArray[Any], name: str) -> str:
    if value.ndim == 3 and value.shape[-1] in (2, 3, 4):
        return f"pass one channel, for example {name}[..., 0]"
    if value.ndim > 2:
        return f"pass one image at a time, for example {name}[0]"
    return "reshape it to rows and columns"


def require_frame(value: object, name: str = "frame") -> npt.NDArray[Any]:
    """``value`` as a frame that native code can read: [H, W] of a `FRAME_DTYPES`, machine byte order,
    aligned, columns adjacent. The same memory when it already is so (rows may be apart), otherwise a copy.

    Raises:
        TypeError: no numpy array, or another dtype.
        ValueError: not [H, W], or empty.
    """
    frame = require_array(value, name)
    native = frame.dtype.newbyteorder("=")
    if native.type not in FRAME_DTYPES:
        raise TypeError(
            f"{name} must be uint8, uint16, float16 or float32, got {frame.dtype}; "
            f"convert it, for example with {name}.astype({_wider(native)})"
        )
    return readable(frame.astype(native, copy=False))


def _wider(dtype: np.dtype[Any]) -> str:
    return "np.uint8" if dtype.kind == "b" else "np.uint16" if dtype.kind in "iu" else "np.float32"


def readable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``array`` with adjacent columns and aligned elements; a copy only where it has to be one."""
    if array.strides[1] == array.itemsize and array.flags.aligned:
        return array
    return np.array(array, order="C")


def require_adjacent(images: npt.NDArray[Any], name: str) -> None:
    """Raise ValueError unless the columns of ``images`` [B, H, W] lie next to each other."""
    if images.ndim != 3 or (images.size and images.strides[2] != images.itemsize):
        raise ValueError(
            f"{name} must be [B, H, W] with adjacent columns, got shape {images.shape} and strides "
            f"{images.strides}; use np.ascontiguousarray"
        )


def refuse_nonfinite(count: int, name: str, size: int) -> None:
    """Raise ValueError when ``count`` of the ``size`` values are NaN or infinite."""
    if count:
        raise ValueError(
            f"{name} has {count} NaN or infinite values of {size}; replace them "
            f"(for example with the median of their neighbours) before the call"
        )


def count_nonfinite(array: npt.NDArray[Any]) -> int:
    """How many values are NaN or infinite; integers have none."""
    return 0 if array.dtype.kind in "iu" else int(array.size - np.count_nonzero(np.isfinite(array)))
