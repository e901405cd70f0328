# SPDX-License-Identifier: Apache-2.0
"""`conv_block` for tensors: [B, C, H, W], read in place where channels are last in memory. Inference only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from pitviper.kernels import registry, tensors
from pitviper.kernels.conv_block.reference import Convolution, Head, Merge
from pitviper.kernels.conv_block.tensor_checks import require_merge, require_parts
from pitviper.kernels.conv_block.tiling import WIDEST_HEAD, Tiling
from pitviper.kernels.conv_block.torch_impl import definition

OPERATION: Final = "conv_block_tensors"


def conv_block_tensors(
    x: Tensor,
    convolution: Convolution,
    *,
    residual: Tensor | None = None,
    merge: Merge | None = None,
    head: Head | None = None,
    backend: registry.BackendChoice = "auto",
) -> Tensor:
    """`reference.conv_block_reference` for tensors, whose maps are [B, C, H, W] in place of [N, H, W, C].

    The parameters of ``convolution``, ``merge`` and ``head`` are tensors on the device of ``x``. A weight of the dtype
    of ``x`` with channels last (``weight.to(x.dtype, memory_format=torch.channels_last)``) and a float32 bias are read
    in place; others are converted at every call. With ``backend="triton"`` a `Merge` is a launch of its own, since
    each of the nine taps would compute it again.

    Args:
        x: float16, bfloat16 or float32 [B, C_in, H, W]; a map of one channel [B, 1, 2 H, 2 W] for a convolution of
            four channels is read space-to-depth.
        residual: Of the shape of the result and the dtype of ``x``.
        backend: ``"auto"``, ``"triton"`` or ``"torch"`` (the definition, in float32).

    Returns:
        [B, C_out, H', W'] of the dtype of ``x``, channels last; with a head logits float32 [B, 1, LH, LW].

    Raises:
        TypeError: Another dtype, or no tensor.
        ValueError: Shapes that do not fit each other; the message names them.
        BackendUnavailable: The backend was asked for by name and cannot run.
    """
    parts = require_parts(x, convolution, residual, head)
    if merge is not None:
        require_merge(x, merge)
    chosen = tensors.choose(OPERATION, backend, parts, refusal=_refused(parts, merge, head))
    if merge is not None:
        x = _merged(x, merge, chosen)
        parts = {**parts, "x": x}
    settings = convolution.stride, convolution.relu, convolution.upsample
    if chosen == "torch":
        return definition(parts, *settings)
    result: Tensor = _operator(
        x,
        parts["weight"],
        parts["bias"],
        parts.get("residual"),
        [parts[name] for name in _HEAD if name in parts],
        *settings,
    )
    return result


_HEAD: Final = ("head", "head_bias", "coarse", "coarse_weight")


def _cut(
    x: Tensor, weight: Tensor, addend: Tensor | None, head: list[Tensor], settings: tuple[int, bool, int]
) -> Tiling:
    stride, relu, upsample = settings
    c_out, c_in, kernel, _ = weight.shape
    batch, planes, height, width = x.shape
    unshuffle = planes != c_in
    shape = (batch, height // 2, width // 2, c_in) if unshuffle else (batch, height, width, c_in)
    return Tiling(
        shape,
        c_out,
        kernel,
        stride=stride,
        unshuffle=unshuffle,
        upsample=upsample,
        addend=addend is not None,
        relu=relu,
        outputs=head[0].shape[0] if head else 0,
        c_coarse=head[2].shape[1] if len(head) == len(_HEAD) else 0,
        itemsize=x.element_size(),
    )


def _empty(x: Tensor, cut: Tiling) -> Tensor:
    """Memory for the result, as its caller sees it."""
    if cut.outputs:
        batch, rows, columns = cut.written
        return x.new_empty((batch, 1, rows, columns), dtype=torch.float32)
    return x.new_empty(cut.written).permute(0, 3, 1, 2)


@torch.library.custom_op("pitviper::conv_block", mutates_args=())
def _operator(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None,
    head: list[Tensor],
    stride: int,
    relu: bool,
    upsample: int,
) -> Tensor:
    from pitviper.kernels.conv_block import triton_impl

    cut = _cut(x, weight, residual, head, (stride, relu, upsample))
    out = _empty(x, cut)
    given: dict[str, Tensor | None] = {
        "x": _rows_of_pixels(x),
        "weight": _rows_of_pixels(weight.to(x.dtype)),
        "bias": bias.float().contiguous(),
        "addend": None if residual is None else _rows_of_pixels(residual),
    }
    for name, tensor in zip(_HEAD, head, strict=False):
        given[name] = _rows_of_pixels(tensor) if name == "coarse" else tensor.float().contiguous()
    given["out"] = out if cut.outputs else out.permute(0, 2, 3, 1)
    triton_impl.convolve(cut, given)
    return out


@_operator.register_fake
def _operator_fake(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    residual: Tensor | None,
    head: list[Tensor],
    stride: int,
    relu: bool,
    upsample: int,
) -> Tensor:
    return _empty(x, _cut(x, weight, residual, head, (stride, relu, upsample)))


def _rows_of_pixels(tensor: Tensor) -> Tensor:
    """[B, C, H, W] as a dense [B, H, W, C]: the same memory where channels are last."""
    return tensor.permute(0, 2, 3, 1).contiguous()


def _merged(skip: Tensor, merge: Any, backend: Any) -> Tensor:
    """The input of the convolution, of the dtype of ``skip``; ``merge`` is a `Merge` of tensors."""
    if not merge.affine:
        pointwise = Convolution(merge.weight, merge.bias, relu=merge.relu, upsample=merge.scale)
        return conv_block_tensors(merge.low, pointwise, residual=skip, backend=backend)
    u = F.conv2d(merge.low.float(), merge.weight.float(), merge.bias.float())
    gamma, beta = u.repeat_interleave(merge.scale, 2).repeat_interleave(merge.scale, 3).chunk(2, 1)
    joined = (1 + merge.strength * (gamma - 1)) * skip.float() + merge.strength * beta
    joined = joined.relu() if merge.relu else joined
    result: Tensor = joined.to(skip.dtype)
    return result


def _refused(parts: Mapping[str, Tensor], merge: Merge | None, head: Head | None) -> str:
    """Why Triton cannot take these arguments; empty where it can."""
    if any(tensor.requires_grad for tensor in parts.values()) and torch.is_grad_enabled():
        return "it has no gradient; call it under torch.no_grad(), or take backend='torch'"
    if merge is not None and merge.affine:
        return "it joins maps by a sum only, not by an affine modulation; take backend='torch'"
    channels = parts["weight"].shape[0]
    if head is not None and channels > WIDEST_HEAD:
        return f"a head reads at most {WIDEST_HEAD} channels, got {channels}; take backend='torch'"
    return ""
