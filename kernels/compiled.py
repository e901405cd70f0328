# SPDX-License-Identifier: Apache-2.0
"""Tensors for the compiled kernels of `affine_modulate` and `samf_fuse`: what these take, and how they are launched.

On a GPU (the backend ``cuda``) a launch goes to the stream that is torch's current one there. In memory of the host
(the backend ``host``) the body of the same kernel runs in the calling thread, which proves it and is slow. Needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from pitviper.kernels import native, planes

DTYPES: Final = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
"""What the kernels compute on, by the number that ``csrc/numbers.h`` gives it."""
_ALIGNMENT: Final = 16


def refusal(backend: str, given: Mapping[str, Tensor], *, multiple: int) -> str:
    """Why the compiled kernels cannot take these arguments; empty where they can, or where ``backend`` needs none.

    Args:
        backend: What was asked for; with ``"auto"`` only tensors on a GPU are looked at.
        given: The tensors of a call by name, ``features`` among them; [B, C, H, W] or [B, C].
        multiple: What the channels of ``features`` have to be one of.
    """
    features = given["features"]
    if backend not in ("cuda", "host") and not (backend == "auto" and features.is_cuda):
        return ""
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given.values()):
        return "the compiled kernels have no gradient; call it under torch.no_grad(), or take 'triton' or 'torch'"
    if features.shape[1] % multiple:
        return f"channels must be a multiple of {multiple}, got {features.shape[1]}; take 'triton' or 'torch'"
    for name, tensor in given.items():
        reason = _unfit(name, tensor, features)
        if reason:
            return reason
    return ""


def _unfit(name: str, tensor: Tensor, features: Tensor) -> str:
    if tensor.dtype not in DTYPES:
        return f"{name} is {tensor.dtype}, and the kernels take float16, bfloat16 and float32"
    if tensor.dtype != features.dtype:
        return (
            f"{name} is {tensor.dtype} and features {features.dtype}, and the kernels take one dtype; convert it, as "
            f"with {name}.to(features.dtype)"
        )
    if tensor.ndim == 4 and tensor.numel() and not tensor.is_contiguous(memory_format=torch.channels_last):
        return (
            f"{name} has the strides {list(tensor.stride())}, and the kernels read dense maps with channels last; "
            f"make it one with {name}.contiguous(memory_format=torch.channels_last)"
        )
    if tensor.ndim == 2 and not tensor.is_contiguous():
        return f"{name} has the strides {list(tensor.stride())}; make it dense with {name}.contiguous()"
    return ""


def launch(name: str, arguments: Mapping[str, Any], beside: Tensor) -> None:
    """Queue one launch on the current stream of the GPU of ``beside``, or run it here where that is on the host.

    Args:
        name: Of the function in the compiled module.
        arguments: The fields of its arguments but for ``dtype``; tensors stand for their addresses, None for none.

    Raises:
        ValueError: A tensor begins at no multiple of 16 bytes, or a map is too large.
        RuntimeError: CUDA refuses the launch.
    """
    fields = {key: _field(key, value) for key, value in arguments.items()} | {"dtype": DTYPES[beside.dtype]}
    with planes.on_device(beside):
        stream = torch.cuda.current_stream(beside.device).cuda_stream if beside.is_cuda else None
        getattr(native.load(), name)(fields, stream)


def _field(name: str, value: Any) -> Any:
    if not isinstance(value, Tensor):
        return 0 if value is None else value
    if value.data_ptr() % _ALIGNMENT:
        raise ValueError(f"{name} begins at no multiple of {_ALIGNMENT} bytes; copy it with {name}.clone()")
    return value.data_ptr()


def rows_of_pixels(tensor: Tensor) -> tuple[int, int, int, int]:
    """(N, H, W, C) of a map [N, C, H, W], as the compiled kernels count."""
    batch, channels, height, width = tensor.shape
    return batch, height, width, channels
