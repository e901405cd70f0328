# SPDX-License-Identifier: Apache-2.0
"""What counts as a frame: the checks between a caller's array and the kernels.

Nothing is resized, rescaled or guessed. What is not a frame is refused with what was given and what to do.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pitviper.core.images import ImageError, read_frame
from pitviper.sdk.errors import InputError, SourceError

__all__ = ["POLARITIES", "SMALLEST", "CheckedFrame", "check_frame", "require_polarity"]

SMALLEST: Final = 32
"""Smallest height and width in pixels: below it the network sees more padding than frame."""

POLARITIES: Final = ("bright", "dark")
"""What targets are against their surroundings."""

_ACCEPTED: Final = (np.uint8, np.uint16, np.float16, np.float32)


class CheckedFrame(NamedTuple):
    """A frame [H, W] in machine byte order, and the flags that its kind deserves."""

    pixels: NDArray[Any]
    flags: tuple[str, ...]


def check_frame(frame: Any) -> CheckedFrame:
    """A caller's frame as a two-dimensional array of uint8, uint16, float16 or float32.

    Args:
        frame: [H, W] or [H, W, 1] array, any strides, read-only or not, any byte order; [H, W, 3] whose three
            planes are equal; or the path of an image file. Sides of at least `SMALLEST` pixels.

    Raises:
        InputError: Anything else. NaN and infinities are found later, by the kernel that reads every pixel.
        SourceError: A path that cannot be read as a frame.
    """
    if isinstance(frame, (str, os.PathLike)):
        try:
            frame = read_frame(os.fspath(frame))
        except ImageError as error:
            raise SourceError(str(error)) from error
    if isinstance(frame, (list, tuple)):
        raise InputError(
            f"a {type(frame).__name__} of {len(frame)} is not one frame; use detect_batch for several "
            "frames, or np.asarray(rows, np.uint16) for one"
        )
    if not isinstance(frame, np.ndarray) or isinstance(frame, np.ma.MaskedArray):
        raise InputError(f"frame must be a numpy array [H, W], got {_kind(frame)}; {_array_fix(frame)}")
    pixels = _one_plane(frame)
    if pixels.size == 0:
        raise InputError(f"frame is empty (shape {pixels.shape}); was the camera or file read successfully?")
    native = pixels.dtype.newbyteorder("=")
    if native.type not in _ACCEPTED:
        raise InputError(
            f"frame must be uint8, uint16, float16 or float32, got {frame.dtype}; {_dtype_fix(frame.dtype)}"
        )
    if min(pixels.shape) < SMALLEST:
        raise InputError(
            f"frame is {pixels.shape[0]}x{pixels.shape[1]} (height x width), at least {SMALLEST}x{SMALLEST} "
            "is needed; pass the whole sensor frame, not a crop around the target"
        )
    # A detector for counts that a camera has already squeezed to 8 bits may have lost the target before us.
    flags = ("agc_suspected",) if native.type is np.uint8 else ()
    return CheckedFrame(pixels.astype(native, copy=False), flags)


def require_polarity(polarity: object) -> None:
    """Refuse what is not one of `POLARITIES`.

    Raises:
        InputError: Another value.
    """
    if polarity not in POLARITIES:
        raise InputError(
            f"polarity must be 'bright' or 'dark', got {polarity!r}; dark is for targets darker than their "
            "surroundings, as warm ones are on a black-hot camera"
        )


def _one_plane(frame: NDArray[Any]) -> NDArray[Any]:
    if frame.ndim == 2:
        return frame
    if frame.ndim == 3 and frame.shape[2] == 1:
        return frame[:, :, 0]
    if frame.ndim == 3 and frame.shape[2] == 3:
        plane = frame[:, :, 0]
        if all(np.array_equal(plane, frame[:, :, other]) for other in (1, 2)):
            return plane
        raise InputError(
            f"frame {frame.shape} has three unequal colour planes; a false-colour palette is no temperature. "
            "Switch the camera to gray or raw (Y16), or pass one plane, frame[..., 0], if that is the signal"
        )
    fix = "reshape it to rows and columns"
    if frame.ndim == 3:
        fix = "pass frame[0], or list(frames) to detect_batch if these are several frames"
        if frame.shape[2] in (2, 4):
            fix = f"pass the one of its {frame.shape[2]} planes that holds the signal, frame[..., 0] for instance"
    elif frame.ndim > 3:
        fix = "pass one frame at a time, for example frame[0, 0]"
    raise InputError(f"frame must be [H, W] or [H, W, 1], got {frame.ndim}-D shape {frame.shape}; {fix}")


def _kind(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _array_fix(value: Any) -> str:
    if isinstance(value, np.ma.MaskedArray):
        return "fill the masked pixels first: frame.filled(np.ma.median(frame))"
    if value is None:
        return "cv2.imread and a camera's read() give None where they could not read; check the path or the camera"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "pass np.frombuffer(data, np.uint16).reshape(height, width) if they are raw counts"
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return "pass tensor.cpu().numpy()"
    return "pass np.asarray(frame)"


def _dtype_fix(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "f":
        return "pass frame.astype(np.float32)"
    if dtype.kind == "i":
        return "pass frame.astype(np.uint16) if no count is negative, else frame.astype(np.float32)"
    if dtype.kind == "u":
        return "pass frame.astype(np.uint16) if the counts fit, else frame.astype(np.float32)"
    return "pass the raw counts of the sensor"
