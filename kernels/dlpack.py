# SPDX-License-Identifier: Apache-2.0
"""Where a tensor on a GPU lies, by DLPack: for libraries that have no ``__cuda_array_interface__``. Needs no GPU.

The structures are those of ``dlpack.h`` before version 1, which every exporter gives when no version is asked for.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any, Final

CUDA: Final = 2
"""``kDLCUDA``: memory of a GPU. Pinned (3) and managed (13) memory are the host's too, and NumPy reads them."""
_DEFAULT_STREAM: Final = 1
_CODES: Final = {1: "u", 2: "f"}
_NAME: Final = b"dltensor"


class _Device(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int32), ("index", ctypes.c_int32))


class _Dtype(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class DLTensor(ctypes.Structure):
    """``DLTensor``, with which a ``DLManagedTensor`` begins."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _Dtype),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


@dataclass(frozen=True)
class Exported:
    """A tensor on a GPU.

    Attributes:
        interface: As ``__cuda_array_interface__`` states it, version 3. The default stream waits for what the exporter
            has under way.
        owner: The memory is valid as long as this object lives.
    """

    interface: dict[str, Any]
    owner: object


def on_gpu(value: Any) -> bool:
    """Whether ``value`` offers DLPack of a GPU's memory."""
    device = getattr(value, "__dlpack_device__", None)
    return device is not None and int(device()[0]) == CUDA


def exported(value: Any) -> Exported:
    """Ask a tensor of which `on_gpu` is true for its memory.

    Raises:
        TypeError: It refuses, gives no capsule of DLPack, or one of other elements than unsigned integers and floats.
    """
    try:
        capsule = value.__dlpack__(stream=_DEFAULT_STREAM)
    except BufferError as error:
        raise TypeError(
            f"{type(value).__name__} does not give its memory ({error}); for a PyTorch tensor of another GPU than the "
            "current one, submit it inside torch.cuda.device(tensor.device)"
        ) from error
    api = ctypes.pythonapi
    api.PyCapsule_IsValid.argtypes = (ctypes.py_object, ctypes.c_char_p)
    api.PyCapsule_GetPointer.argtypes = (ctypes.py_object, ctypes.c_char_p)
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    if not api.PyCapsule_IsValid(capsule, _NAME):
        raise TypeError(f"{type(value).__name__}.__dlpack__ gave {capsule!r}, no unused capsule 'dltensor'")
    tensor = ctypes.cast(api.PyCapsule_GetPointer(capsule, _NAME), ctypes.POINTER(DLTensor)).contents
    kind, lanes = _CODES.get(tensor.dtype.code), tensor.dtype.lanes
    if kind is None or lanes != 1 or tensor.dtype.bits % 8:
        raise TypeError(
            "a frame on a GPU is uint8, uint16, float16 or float32, got DLPack's type code "
            f"{tensor.dtype.code} of {tensor.dtype.bits} bits and {lanes} lanes"
        )
    size = tensor.dtype.bits // 8
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    strides = tuple(tensor.strides[axis] * size for axis in range(tensor.ndim)) if tensor.strides else None
    interface = {
        "typestr": f"{'|' if size == 1 else '<'}{kind}{size}",
        "shape": shape,
        "strides": strides,
        "data": ((tensor.data or 0) + tensor.byte_offset, True),
        "stream": _DEFAULT_STREAM,
        "version": 3,
    }
    return Exported(interface, capsule)
