# SPDX-License-Identifier: Apache-2.0
"""The public `standardise`: checks the arguments, chooses the backend, never touches its input."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from pitviper.kernels import checks, native, registry
from pitviper.kernels.standardise import cuda_impl, host_impl, reference

_SMALLEST = reference.BOX // 2 + 1


def standardise(
    frame: npt.NDArray[Any],
    *,
    stride: int = 1,
    out: npt.NDArray[np.float32] | None = None,
    backend: registry.BackendChoice = "auto",
) -> npt.NDArray[np.float32]:
    """One frame on the scale that the networks are trained on, whatever the sensor's gain and offset.

    ``(x - mean) / (2 std(x - box5(x)) + 0.1 std(x))`` (see `reference`): ``standardise(a * x + b)`` equals
    ``standardise(x)`` for every a > 0, and a constant frame gives zeros. The result is padded at the bottom
    and right by reflection (the edge not repeated) to multiples of ``stride``. Nothing is resized or clipped.

    Args:
        frame: [H, W] raw counts or temperatures, uint8, uint16 (any number of valid bits), float16 or
            float32; H and W at least 3. Any strides and byte order; may be read-only. It is never written to.
            Frames with adjacent columns are read in place.
        stride: multiple that the network needs, at least 1. The padding must be smaller than the side.
        out: float32 [Hp, Wp] in C order that receives the result, so that a stream allocates nothing. It must
            not overlap ``frame``.
        backend: ``"auto"``, ``"host"`` (C++), ``"numpy"`` (the definition) or ``"cuda"`` (a GPU; copies the frame
            there and back, for which ``"auto"`` never takes it).

    Returns:
        float32 [Hp, Wp], dimensionless; ``out`` itself when it was given.

    Raises:
        TypeError: ``frame`` or ``out`` is no numpy array or has another dtype.
        ValueError: wrong shape, NaN or infinite values (with their count), or ``out`` does not fit.
        NativeUnavailable: ``"host"`` or ``"cuda"`` was asked for and the compiled module or a GPU is missing.

    Example:
        >>> frame = np.full((6, 6), 1000, np.uint16)
        >>> frame[2, 3] += 40
        >>> bool(np.allclose(standardise(frame), standardise(3 * frame + 100)))
        True
    """
    chosen = registry.resolve(backend, "standardise")
    given, frame = frame, checks.require_frame(frame)
    shape = _padded_shape(frame.shape, stride)
    count = native.count_nonfinite if chosen == "host" else checks.count_nonfinite
    checks.refuse_nonfinite(count(frame), "frame", frame.size)
    result = np.empty(shape, np.float32) if out is None else _require_out(out, shape, given)
    if chosen == "host":
        host_impl.standardise_host(frame, result)
    elif chosen == "cuda":
        there = np.ascontiguousarray(frame)[None]
        result[:] = cuda_impl.standardise_phases(there, shape, on_gpu=True)[0][0, ..., 0]
    else:
        result[:] = reference.standardise_reference(frame, stride)
    return result


def _padded_shape(shape: tuple[int, ...], stride: int) -> tuple[int, int]:
    stride = operator.index(stride)
    if stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")
    if min(shape) < _SMALLEST:
        raise ValueError(f"frame must have at least {_SMALLEST} rows and columns, got shape {shape}")
    for side, name in zip(shape, ("rows", "columns"), strict=True):
        if -side % stride >= side:
            raise ValueError(
                f"a frame of {side} {name} cannot be padded by reflection to a multiple of {stride}: "
                f"it needs at least {stride // 2 + 1} {name}"
            )
    return shape[0] + -shape[0] % stride, shape[1] + -shape[1] % stride


def _require_out(out: object, shape: tuple[int, int], frame: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if not isinstance(out, np.ndarray) or out.dtype != np.float32:
        found = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(
            f"out must be a float32 numpy array, got {found}; make it with np.empty({shape}, np.float32)"
        )
    if out.shape != shape:
        raise ValueError(f"out must have the padded shape {shape}, got {out.shape}")
    if not (out.flags.c_contiguous and out.flags.writeable and out.flags.aligned):
        raise ValueError(f"out must be writeable and in C order; make it with np.empty({shape}, np.float32)")
    if np.may_share_memory(out, frame):
        raise ValueError("out overlaps frame, which is never written to; pass a separate array")
    return out
