# SPDX-License-Identifier: Apache-2.0
"""`samf_split` and `samf_join` in Triton: one launch each forward, two for the gradients of the split.

The prior is read where it lies and interpolated in registers; both halves of the features are read and written in
place, so neither a resized prior nor a concatenation is ever in memory. The gradient of the prior gathers, for each
of its pixels, what the pixels around it received: no atomic additions, so the result is the same in each run.
Kernels name every stride, since operands keep their own layout.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import triton
import triton.language as tl

from pitviper.kernels import planes
from pitviper.kernels.launch import Launch
from pitviper.kernels.samf_fuse.cost import samf_join_cost, samf_prior_gradient_cost, samf_split_cost
from pitviper.kernels.tile_access import load_tile, place, store_tile

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pitviper.kernels.aot import Variant

SPLIT_TILE = 1024
"""Elements of a tile of each half: four of the prior are read for each that is written."""
SPLIT_COLUMNS = 128
"""Columns of a tile at most: their places in the prior are computed once for all channels of the tile."""
PRIOR_BLOCK = 16
"""Channels and columns of a tile of the prior, the smallest matrix that ``tl.dot`` takes."""


@triton.jit
def _position(at, extent, ratio):
    """Where in the prior a pixel of the features lies, in pixels of the prior from the centre of its first."""
    return tl.minimum(tl.maximum(ratio * (at.to(tl.float32) + 0.5) - 0.5, 0.0), extent - 1.0)


@triton.jit
def _prior(
    pointer, batch, channel, y, x, keep, height, width, ratio_y, ratio_x, s_b, s_c, s_h, s_w, RESIZE: tl.constexpr
):  # fmt: skip
    """The prior where pixels (y, x) of the features lie; a tile of channels x pixels."""
    pointer += batch * s_b + (channel * s_c)[:, None]
    if RESIZE:
        where_y = _position(y, height, ratio_y)
        where_x = _position(x, width, ratio_x)
        top = where_y.to(tl.int64)
        left = where_x.to(tl.int64)
        down = (where_y - top.to(tl.float32))[None, :]
        over = (where_x - left.to(tl.float32))[None, :]
        below = tl.minimum(top + 1, height - 1) * s_h
        right = tl.minimum(left + 1, width - 1) * s_w
        top *= s_h
        left *= s_w
        upper = (1.0 - over) * tl.load(pointer + (top + left)[None, :], mask=keep, other=0.0).to(tl.float32)
        upper += over * tl.load(pointer + (top + right)[None, :], mask=keep, other=0.0).to(tl.float32)
        lower = (1.0 - over) * tl.load(pointer + (below + left)[None, :], mask=keep, other=0.0).to(tl.float32)
        lower += over * tl.load(pointer + (below + right)[None, :], mask=keep, other=0.0).to(tl.float32)
        value = (1.0 - down) * upper + down * lower
    else:
        value = tl.load(pointer + (y * s_h + x * s_w)[None, :], mask=keep, other=0.0).to(tl.float32)
    return value


@triton.jit
def samf_split_kernel(
    first, second, scale, shift, first_out, second_out, channels, rows, columns, channel_tiles, column_tiles,
    width, prior_rows, prior_columns, ratio_y, ratio_x,
    a_b, a_c, a_h, a_w, b_b, b_c, b_h, b_w, o_b, o_c, o_h, o_w, m_b, m_c, m_h, m_w, s_b, s_c, s_h, s_w,
    RESIZE: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_W: tl.constexpr,
):  # fmt: skip
    """``first * scale`` and ``second + shift``; without ``shift``, as for gradients, ``second`` as it is."""
    batch, channel, row, tile = place(rows, channel_tiles, column_tiles, BLOCK_C)
    column = tile * BLOCK_W + tl.arange(0, BLOCK_W)
    keep = (channel < channels)[:, None] & (column < columns)[None, :]
    # A plane is one row of all its pixels, or a row is one of the plane's: either way this is the pixel.
    y = (row + column // width).to(tl.int64)
    x = (column % width).to(tl.int64)
    value = load_tile(first, batch, channel, row, column, keep, a_b, a_c, a_h, a_w)
    value *= _prior(
        scale, batch, channel, y, x, keep, prior_rows, prior_columns, ratio_y, ratio_x,
        m_b, m_c, m_h, m_w, RESIZE,
    )  # fmt: skip
    store_tile(first_out, value, batch, channel, row, column, keep, o_b, o_c, o_h, o_w)
    value = load_tile(second, batch, channel, row, column, keep, b_b, b_c, b_h, b_w)
    if shift is not None:
        value += _prior(
            shift, batch, channel, y, x, keep, prior_rows, prior_columns, ratio_y, ratio_x,
            s_b, s_c, s_h, s_w, RESIZE,
        )  # fmt: skip
    store_tile(second_out, value, batch, channel, row, column, keep, o_b, o_c, o_h, o_w)


@triton.jit
def samf_prior_grad_kernel(
    grad_first, grad_second, first, grad_scale, grad_shift, channels, rows, columns, channel_tiles, column_tiles,
    feature_rows, feature_columns, ratio_y, ratio_x, reach, blocks,
    a_b, a_c, a_h, a_w, b_b, b_c, b_h, b_w, f_b, f_c, f_h, f_w, o_b, o_c, o_h, o_w,
    BLOCK_C: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_X: tl.constexpr,
):  # fmt: skip
    """Row i and columns j of the prior receive from each pixel what `_prior` weighed them with there.

    That weight is max(0, 1 - |position - i|) for the rows, times the same for the columns: pixels further away than
    1 / ratio have none. The rows that have one, ``reach`` at most, are summed first, then their columns.
    """
    batch, channel, i, tile = place(rows, channel_tiles, column_tiles, BLOCK_C)
    j = tile * BLOCK_W + tl.arange(0, BLOCK_W)
    inside = (channel < channels)[:, None]
    first_y = tl.floor((i.to(tl.float32) - 0.5) / ratio_y - 0.5).to(tl.int32)
    first_x = tl.floor(((tile * BLOCK_W).to(tl.float32) - 0.5) / ratio_x - 0.5).to(tl.int32)
    total_scale = tl.zeros([BLOCK_C, BLOCK_W], tl.float32)
    total_shift = tl.zeros([BLOCK_C, BLOCK_W], tl.float32)
    for block in range(blocks):
        x = first_x + block * BLOCK_X + tl.arange(0, BLOCK_X)
        present = tl.where((x >= 0) & (x < feature_columns), 1.0, 0.0)
        sum_scale = tl.zeros([BLOCK_C, BLOCK_X], tl.float32)
        sum_shift = tl.zeros([BLOCK_C, BLOCK_X], tl.float32)
        for step in range(reach):
            y = first_y + step
            weight = tl.maximum(1.0 - tl.abs(_position(y, rows, ratio_y) - i.to(tl.float32)), 0.0)
            weight = tl.where((y >= 0) & (y < feature_rows), weight, 0.0)
            keep = inside & (present * weight > 0.0)[None, :]
            slope = load_tile(grad_first, batch, channel, y, x, keep, a_b, a_c, a_h, a_w)
            value = load_tile(first, batch, channel, y, x, keep, f_b, f_c, f_h, f_w)
            sum_scale += weight * slope * value
            slope = load_tile(grad_second, batch, channel, y, x, keep, b_b, b_c, b_h, b_w)
            sum_shift += weight * slope
        apart = _position(x, columns, ratio_x)[:, None] - j.to(tl.float32)[None, :]
        weights = tl.maximum(1.0 - tl.abs(apart), 0.0)
        total_scale = tl.dot(sum_scale, weights, total_scale, input_precision="ieee")
        total_shift = tl.dot(sum_shift, weights, total_shift, input_precision="ieee")
    keep = inside & (j < columns)[None, :]
    store_tile(grad_scale, total_scale, batch, channel, i, j, keep, o_b, o_c, o_h, o_w)
    store_tile(grad_shift, total_shift, batch, channel, i, j, keep, o_b, o_c, o_h, o_w)


@triton.jit
def samf_join_kernel(
    first, second, upper, lower, upper_out, lower_out, channels, rows, columns, channel_tiles, column_tiles,
    a_b, a_c, a_h, a_w, b_b, b_c, b_h, b_w, f_b, f_c, f_h, f_w, o_b, o_c, o_h, o_w,
    BLOCK_C: tl.constexpr, BLOCK_W: tl.constexpr,
):  # fmt: skip
    """``first + upper`` and ``second + lower``, which are the halves of the features and of the result."""
    batch, channel, row, tile = place(rows, channel_tiles, column_tiles, BLOCK_C)
    column = tile.to(tl.int64) * BLOCK_W + tl.arange(0, BLOCK_W)
    keep = (channel < channels)[:, None] & (column < columns)[None, :]
    value = load_tile(first, batch, channel, row, column, keep, a_b, a_c, a_h, a_w)
    value += load_tile(upper, batch, channel, row, column, keep, f_b, f_c, f_h, f_w)
    store_tile(upper_out, value, batch, channel, row, column, keep, o_b, o_c, o_h, o_w)
    value = load_tile(second, batch, channel, row, column, keep, b_b, b_c, b_h, b_w)
    value += load_tile(lower, batch, channel, row, column, keep, f_b, f_c, f_h, f_w)
    store_tile(lower_out, value, batch, channel, row, column, keep, o_b, o_c, o_h, o_w)


def samf_split_forward(features: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """U1 and U2 as `reference` defines them. The arguments are checked."""
    import torch

    half = features.shape[1] // 2
    first, second = (
        planes.like(features, channels=half, dtype=torch.promote_types(features.dtype, prior.dtype))
        for prior in (scale, shift)
    )
    if first.numel():
        _split((features[:, :half], features[:, half:]), scale, shift, (first, second)).run(features)
    return first, second


def samf_split_backward(
    grad_first: Tensor,
    grad_second: Tensor,
    features: Tensor,
    scale: Tensor,
    shift_dtype: torch.dtype,
    *,
    wanted: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of features, scale and shift.

    Args:
        grad_first: gradient of U1, [B, C / 2, h, w] of any strides.
        grad_second: gradient of U2.
        shift_dtype: dtype of the shift, which has the shape of the scale.
        wanted: whether that of the features, and those of the prior, are; None is returned for the others.
    """
    half = features.shape[1] // 2
    grad_features = grad_scale = grad_shift = None
    if wanted[0]:
        grad_features = planes.like(features)
        if features.numel():
            out = grad_features[:, :half], grad_features[:, half:]
            _split((grad_first, grad_second), scale, None, out).run(features)
    if wanted[1]:
        grad_scale, grad_shift = planes.like(scale), planes.like(scale, dtype=shift_dtype)
        if features.numel():
            _gather(grad_first, grad_second, features[:, :half], (grad_scale, grad_shift)).run(features)
    return grad_features, grad_scale, grad_shift


def samf_join_forward(first: Tensor, second: Tensor, features: Tensor) -> Tensor:
    """Y as `reference` defines it. The arguments are checked."""
    import torch

    dtype = torch.promote_types(torch.promote_types(first.dtype, second.dtype), features.dtype)
    out = planes.like(features, dtype=dtype)
    if out.numel():
        _join(first, second, features, out).run(features)
    return out


def _split(
    halves: tuple[Tensor, Tensor], scale: Tensor, shift: Tensor | None, out: tuple[Tensor, Tensor]
) -> Launch:
    first, second = halves
    cut = planes.cut(first.shape, (first, second, out[0]), tile=SPLIT_TILE, widest=SPLIT_COLUMNS)
    height, width = first.shape[2:]
    rows, columns = scale.shape[2:]
    values = (
        first, second, scale, shift, *out,
        first.shape[1], cut.rows, cut.columns, cut.channel_tiles, cut.column_tiles,
        width, rows, columns, rows / height, columns / width,
        *(stride for strides in cut.strides for stride in strides),
        *scale.stride(), *(scale if shift is None else shift).stride(),
    )  # fmt: skip
    constants = {
        "RESIZE": (height, width) != (rows, columns),
        "BLOCK_C": cut.block_channels,
        "BLOCK_W": cut.block_columns,
    }
    return Launch(samf_split_kernel, cut.programs, values, constants)


def _gather(grad_first: Tensor, grad_second: Tensor, first: Tensor, out: tuple[Tensor, Tensor]) -> Launch:
    height, width = first.shape[2:]
    batch, channels, rows, columns = out[0].shape
    channel_tiles, column_tiles = -(-channels // PRIOR_BLOCK), -(-columns // PRIOR_BLOCK)
    reach, block, blocks = _reach((height, width), (rows, columns))
    values = (
        grad_first, grad_second, first, *out, channels, rows, columns, channel_tiles, column_tiles,
        height, width, rows / height, columns / width, reach, blocks,
        *grad_first.stride(), *grad_second.stride(), *first.stride(), *out[0].stride(),
    )  # fmt: skip
    constants = {"BLOCK_C": PRIOR_BLOCK, "BLOCK_W": PRIOR_BLOCK, "BLOCK_X": block}
    return Launch(samf_prior_grad_kernel, batch * rows * channel_tiles * column_tiles, values, constants)


def _reach(size: tuple[int, int], prior: tuple[int, int]) -> tuple[int, int, int]:
    """Rows of the features that touch one row of the prior at most; columns of a step, and steps over those that
    touch one tile of the prior."""
    rows = math.ceil(2 * size[0] / prior[0]) + 2
    columns = math.ceil((min(prior[1], PRIOR_BLOCK) + 1) * size[1] / prior[1]) + 2
    block = min(128, max(16, triton.next_power_of_2(columns)))
    return rows, block, -(-columns // block)


def _join(first: Tensor, second: Tensor, features: Tensor, out: Tensor) -> Launch:
    half = first.shape[1]
    upper, lower, upper_out, lower_out = features[:, :half], features[:, half:], out[:, :half], out[:, half:]
    cut = planes.cut(first.shape, (first, second, upper, upper_out))
    values = (
        first, second, upper, lower, upper_out, lower_out,
        half, cut.rows, cut.columns, cut.channel_tiles, cut.column_tiles,
        *(stride for strides in cut.strides for stride in strides),
    )  # fmt: skip
    constants = {"BLOCK_C": cut.block_channels, "BLOCK_W": cut.block_columns}
    return Launch(samf_join_kernel, cut.programs, values, constants)


def aot_variants() -> tuple[Variant, ...]:
    """Forms for ahead-of-time compilation: the bottleneck of pit-s, with the token map of a frame of 256 x 256."""
    return (
        *_variants("float16", quick=True),
        *_variants("bfloat16", last=False),
        *_variants("float32", last=False, prior=(32, 32)),
    )


def _variants(
    dtype: str, *, last: bool = True, prior: tuple[int, int] = (16, 16), quick: bool = False
) -> tuple[Variant, ...]:
    """The four launches of one training step, on tensors without memory."""
    import torch

    layout = torch.channels_last if last else torch.contiguous_format
    kind = getattr(torch, dtype)
    shape = (8, 64, 32, 32)
    features = torch.empty(shape, dtype=kind, device="meta", memory_format=layout)
    half = torch.empty((8, 32, 32, 32), dtype=kind, device="meta", memory_format=layout)
    scale = torch.empty((8, 32, *prior), dtype=kind, device="meta", memory_format=layout)
    halves = features[:, :32], features[:, 32:]
    split = samf_split_cost(shape, prior, itemsize=kind.itemsize)
    launches = {
        "split": (_split(halves, scale, scale, (half, half)), split),
        "split, gradient of the features": (_split((half, half), scale, None, halves), split),
        "split, gradient of the prior": (
            _gather(half, half, halves[0], (scale, scale)),
            samf_prior_gradient_cost(shape, prior, itemsize=kind.itemsize),
        ),
        "join": (_join(half, half, features, features), samf_join_cost(shape, itemsize=kind.itemsize)),
    }
    shapes = f"F {list(shape)}, prior {list(prior)}, {dtype}, {'channels last' if last else 'rows'}"
    return tuple(
        launch.variant("samf_fuse", f"{name}, {dtype}", cost, shapes=shapes, quick=quick)
        for name, (launch, cost) in launches.items()
    )
