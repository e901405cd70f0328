# SPDX-License-Identifier: Apache-2.0
"""Argument checks of the operations on tensors, in one wording, and the choice of their backend.

Written so that ``torch.compile(fullgraph=True)`` can trace the operations: nothing here depends on values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from pitviper.kernels import registry

DTYPES: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def require_map(value: object, name: str) -> Tensor:
    """``value`` if it is a floating-point tensor [B, C, H, W].

    Raises:
        TypeError: it is no tensor, or of another dtype.
        ValueError: it has another number of dimensions.
    """
    tensor = require_floating(value, name)
    if tensor.ndim != 4:
        raise ValueError(f"{name} must be [B, C, H, W], got shape {list(tensor.shape)}; {_fix(tensor, name)}")
    return tensor


def require_floating(value: object, name: str) -> Tensor:
    """``value`` if it is a floating-point tensor.

    Raises:
        TypeError: it is no tensor, or of another dtype.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch tensor, got {type(value).__name__}; use torch.as_tensor")
    if value.dtype not in DTYPES:
        raise TypeError(
            f"{name} must be floating point, got {value.dtype}; convert it, as with {name}.float()"
        )
    return value


def require_same_device(tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError unless all tensors are on the device of the first."""
    first, *others = tensors.items()
    for name, tensor in others:
        if tensor.device != first[1].device:
            raise ValueError(
                f"{name} is on {tensor.device} and {first[0]} on {first[1].device}; move it, "
                f"as with {name}.to({first[0]}.device)"
            )


def choose(
    operation: str,
    backend: str,
    tensors: Mapping[str, Tensor],
    *,
    refusal: str = "",
    compiled_refusal: str = "",
) -> str:
    """The backend that runs ``operation`` on these tensors, all on one device.

    Args:
        refusal: why Triton cannot take these arguments, where the operation knows; empty where it can.
        compiled_refusal: the same of the compiled kernels, the backends ``cuda`` and ``host``.

    Raises:
        ValueError: no such backend.
        BackendUnavailable: a backend asked for by name cannot run.
    """
    wide = next((name for name, tensor in tensors.items() if tensor.dtype == torch.float64), "")
    device = next(iter(tensors.values())).device.type
    return _resolve(operation, backend, device, wide, (refusal, compiled_refusal))


def _resolve(operation: str, backend: str, device: str, wide: str, refusals: tuple[str, str]) -> str:
    refused: dict[registry.BackendName, str] = {}
    refusal, compiled_refusal = refusals
    for name, needed in _MEMORY.items():
        if compiled_refusal or device != needed:
            refused[name] = (
                compiled_refusal or f"the tensors are on {device}; move them to the {_SAID[needed]}"
            )
    if refusal:
        refused["triton"] = refusal
    elif wide:
        refused["triton"] = f"{wide} is float64, and the kernels compute in float32; use the backend 'torch'"
    elif device != "cuda" and not (device == "cpu" and registry.interpreting()):
        refused["triton"] = f"the tensors are on {device}; move them to a CUDA device"
    elif device == "cpu" and backend == "auto":
        refused["triton"] = "Triton's interpreter is for tests"
    return registry.resolve(backend, operation, refused=refused)


_MEMORY: Final[Mapping[registry.BackendName, str]] = {"cuda": "cuda", "host": "cpu"}
"""Where the tensors of each backend of compiled kernels have to be."""
_SAID: Final = {"cuda": "GPU, as with .cuda()", "cpu": "CPU, as with .cpu()"}

# A constant for the compiler, which can trace neither logging nor the import of Triton. This is all that
# torch.compiler.assume_constant_result does, but for importing the compiler, which takes seconds.
_resolve._dynamo_marked_constant = True  # type: ignore[attr-defined]  # a mark on a function has no type


def _fix(tensor: Tensor, name: str) -> str:
    if tensor.ndim == 3:
        return f"add the batch, as with {name}[None]"
    return "reshape it"
