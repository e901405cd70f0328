# SPDX-License-Identifier: Apache-2.0
"""What `conv_block_tensors` refuses: arguments that do not fit each other, in the words of the fix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from pitviper.kernels.conv_block.reference import Convolution, Head, Merge

_DTYPES: Final = (torch.float16, torch.bfloat16, torch.float32)


def require_parts(
    x: Tensor, convolution: Convolution, residual: Tensor | None, head: Head | None
) -> dict[str, Tensor]:
    """The tensors of a call by name, checked against each other.

    Raises:
        TypeError: No tensor, or another dtype.
        ValueError: A shape or device that does not fit the others.
    """
    parts: dict[str, Any] = {
        "x": x,
        "weight": convolution.weight,
        "bias": convolution.bias,
        "residual": residual,
    }
    if head is not None:
        parts |= {"head": head.weight, "head_bias": head.bias}
        if head.coarse is not None:
            parts |= {"coarse": head.coarse, "coarse_weight": head.coarse_weight}
    found = {name: _require_tensor(value, name, x) for name, value in parts.items() if value is not None}
    _require_convolution(found["x"], found["weight"], found["bias"], convolution)
    result = _result_shape(found["x"], found["weight"], convolution)
    if residual is not None:
        _require_shape(residual, "residual", result)
        _require_dtype(residual, "residual", x)
    if head is not None:
        _require_head(found, result, convolution)
    return found


def _require_tensor(value: object, name: str, x: Tensor) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(value).__name__}; use torch.as_tensor")
    if value.device != x.device:
        raise ValueError(f"{name} is on {value.device} and x on {x.device}; move it with .to(x.device)")
    return value


def _require_convolution(x: Tensor, weight: Tensor, bias: Tensor, convolution: Convolution) -> None:
    if x.dtype not in _DTYPES:
        raise TypeError(f"x must be float16, bfloat16 or float32, got {x.dtype}; convert it with .to")
    if x.ndim != 4 or min(x.shape[1:]) < 1:
        raise ValueError(f"x must be [B, C, H, W] with one channel and pixel or more, got {list(x.shape)}")
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3] or weight.shape[2] not in (1, 3):
        raise ValueError(f"weight must be [C_out, C_in, k, k] with k 1 or 3, got {list(weight.shape)}")
    _require_shape(bias, "bias", (weight.shape[0],))
    c_in, frame = weight.shape[1], x.shape[1] == 1 and weight.shape[1] == 4
    if not frame and x.shape[1] != c_in:
        raise ValueError(f"x has {x.shape[1]} channels and the weight reads {c_in}; they must be the same")
    if frame and (x.shape[2] % 2 or x.shape[3] % 2):
        raise ValueError(
            f"a frame that is read space-to-depth needs even sides, got {list(x.shape)}; pad it first"
        )
    stride, upsample = convolution.stride, convolution.upsample
    if stride not in (1, 2) or upsample not in (1, 2):
        raise ValueError(f"stride and upsample must be 1 or 2, got {stride} and {upsample}")
    if upsample == 2 and (stride, weight.shape[2]) != (1, 1):
        raise ValueError(
            f"only a 1x1 convolution of stride 1 is upsampled, got {weight.shape[2]}x{weight.shape[2]}, stride {stride}"
        )
    pixels = x.shape[2] * x.shape[3]
    if pixels * max(x.shape[1], weight.shape[0] * upsample**2) >= 2**31:
        raise ValueError(f"one image of {list(x.shape)} has 2^31 elements or more; cut it into tiles")


def _result_shape(x: Tensor, weight: Tensor, convolution: Convolution) -> tuple[int, int, int, int]:
    batch, planes, height, width = x.shape
    if planes != weight.shape[1]:
        height, width = height // 2, width // 2
    rows, columns = (-(-side // convolution.stride) * convolution.upsample for side in (height, width))
    return batch, weight.shape[0], rows, columns


def _require_head(
    parts: Mapping[str, Tensor], result: tuple[int, int, int, int], convolution: Convolution
) -> None:
    batch, channels, rows, columns = result
    weight = parts["head"]
    if weight.ndim != 2 or weight.shape[0] not in (1, 4) or weight.shape[1] != channels:
        raise ValueError(f"the head's weight must be [1 or 4, {channels}], got {list(weight.shape)}")
    if convolution.upsample != 1:
        raise ValueError("a head reads the convolution's result before any upsampling; take upsample=1")
    _require_shape(parts["head_bias"], "the head's bias", (weight.shape[0],))
    if ("coarse" in parts) != ("coarse_weight" in parts):
        raise ValueError("a head takes coarse and coarse_weight together, got one of them")
    if "coarse" in parts:
        coarse, side = parts["coarse"], 2 if weight.shape[0] == 4 else 1
        if rows * side % 2 or columns * side % 2:
            raise ValueError(
                f"logits of {rows * side}x{columns * side} have no map of half their size; pad the frame"
            )
        channels = coarse.shape[1] if coarse.ndim == 4 else 0
        _require_shape(coarse, "coarse", (batch, channels, rows * side // 2, columns * side // 2))
        _require_dtype(coarse, "coarse", parts["x"])
        _require_shape(parts["coarse_weight"], "coarse_weight", (4, channels))


def require_merge(x: Tensor, merge: Merge) -> None:
    """Refuse a merge that does not fit the map ``x`` it is joined to; raises as `require_parts`."""
    low, weight = (_require_tensor(getattr(merge, name), f"merge.{name}", x) for name in ("low", "weight"))
    bias = _require_tensor(merge.bias, "merge.bias", x)
    if merge.scale not in (1, 2):
        raise ValueError(f"merge.scale must be 1 or 2, got {merge.scale}")
    batch, channels, height, width = x.shape
    if height % merge.scale or width % merge.scale:
        raise ValueError(f"a map of {height}x{width} is no {merge.scale} times as large as another")
    given = low.shape[1] if low.ndim == 4 else 0
    _require_shape(low, "merge.low", (batch, given, height // merge.scale, width // merge.scale))
    _require_dtype(low, "merge.low", x)
    outputs = channels * (2 if merge.affine else 1)
    _require_shape(weight, "merge.weight", (outputs, given, 1, 1))
    _require_shape(bias, "merge.bias", (outputs,))


def _require_shape(tensor: Tensor, name: str, shape: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} must be {list(shape)} to fit the other arguments, got {list(tensor.shape)}")


def _require_dtype(tensor: Tensor, name: str, x: Tensor) -> None:
    if tensor.dtype != x.dtype:
        raise TypeError(
            f"{name} must have the dtype of x, {x.dtype}, got {tensor.dtype}; convert it with .to"
        )
