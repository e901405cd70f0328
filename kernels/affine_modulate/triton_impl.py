# SPDX-License-Identifier: Apache-2.0
"""`affine_modulate` in Triton: one launch forward, one (and a small sum over tiles) backward.

Kernels name every stride, since operands keep their own layout; that is why their lists of arguments are long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from pitviper.kernels import planes
from pitviper.kernels.tile_access import load_tile, place, store_tile

if TYPE_CHECKING:
    from torch import Tensor

TILES = 4
"""Tiles that one program of the backward kernel sums over at most: there are as many times fewer partial sums."""


@triton.jit
def _load_parameter(pointer, batch, channel, row, column, keep, s_b, s_c, s_h, s_w, PER_PIXEL: tl.constexpr):
    if PER_PIXEL:
        return load_tile(pointer, batch, channel, row, column, keep, s_b, s_c, s_h, s_w)
    values = tl.load(pointer + batch * s_b + channel * s_c, mask=tl.max(keep.to(tl.int32), 1) > 0, other=0.0)
    return values.to(tl.float32)[:, None]


@triton.jit
def affine_modulate_kernel(
    features, gamma, beta, residual, out, strength,
    channels, rows, columns, channel_tiles, column_tiles,
    f_b, f_c, f_h, f_w, g_b, g_c, g_h, g_w, b_b, b_c, b_h, b_w, r_b, r_c, r_h, r_w, o_b, o_c, o_h, o_w,
    PER_PIXEL: tl.constexpr, RELU: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_W: tl.constexpr,
):  # fmt: skip
    batch, channel, row, tile = place(rows, channel_tiles, column_tiles, BLOCK_C)
    column = tile.to(tl.int64) * BLOCK_W + tl.arange(0, BLOCK_W)
    keep = (channel < channels)[:, None] & (column < columns)[None, :]
    gain = _load_parameter(gamma, batch, channel, row, column, keep, g_b, g_c, g_h, g_w, PER_PIXEL)
    bias = _load_parameter(beta, batch, channel, row, column, keep, b_b, b_c, b_h, b_w, PER_PIXEL)
    value = load_tile(features, batch, channel, row, column, keep, f_b, f_c, f_h, f_w)
    value = (1.0 + strength * (gain - 1.0)) * value + strength * bias
    if residual is not None:
        value += load_tile(residual, batch, channel, row, column, keep, r_b, r_c, r_h, r_w)
    if RELU:
        value = tl.where(value <= 0.0, 0.0, value)
    store_tile(out, value, batch, channel, row, column, keep, o_b, o_c, o_h, o_w)


@triton.jit
def affine_modulate_backward_kernel(
    grad, features, gamma, beta, residual, grad_features, grad_gamma, grad_beta, grad_residual, strength,
    channels, rows, columns, channel_tiles, column_groups, batches,
    d_b, d_c, d_h, d_w, f_b, f_c, f_h, f_w, g_b, g_c, g_h, g_w, b_b, b_c, b_h, b_w, r_b, r_c, r_h, r_w,
    o_b, o_c, o_h, o_w,
    PER_PIXEL: tl.constexpr, RELU: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_W: tl.constexpr,
    TILES: tl.constexpr,
):  # fmt: skip
    """Gradients that are not wanted are None. Per channel, those of gamma and beta are [rows * groups, B, C]."""
    batch, channel, row, group = place(rows, channel_tiles, column_groups, BLOCK_C)
    group = group.to(tl.int64)
    sum_gain = tl.zeros([BLOCK_C, BLOCK_W], tl.float32)
    sum_bias = tl.zeros([BLOCK_C, BLOCK_W], tl.float32)
    for step in range(TILES):
        column = (group * TILES + step) * BLOCK_W + tl.arange(0, BLOCK_W)
        keep = (channel < channels)[:, None] & (column < columns)[None, :]
        slope = load_tile(grad, batch, channel, row, column, keep, d_b, d_c, d_h, d_w)
        if RELU or grad_gamma is not None:
            value = load_tile(features, batch, channel, row, column, keep, f_b, f_c, f_h, f_w)
        if RELU or grad_features is not None:
            gain = _load_parameter(gamma, batch, channel, row, column, keep, g_b, g_c, g_h, g_w, PER_PIXEL)
            gain = 1.0 + strength * (gain - 1.0)
        if RELU:
            bias = _load_parameter(beta, batch, channel, row, column, keep, b_b, b_c, b_h, b_w, PER_PIXEL)
            result = gain * value + strength * bias
            if residual is not None:
                result += load_tile(residual, batch, channel, row, column, keep, r_b, r_c, r_h, r_w)
            # Forward, the ReLU sees the rounded result: what rounds to 0 has no gradient.
            result = result.to(features.dtype.element_ty).to(tl.float32)
            slope = tl.where(result <= 0.0, 0.0, slope)
        if grad_features is not None:
            store_tile(grad_features, gain * slope, batch, channel, row, column, keep, o_b, o_c, o_h, o_w)
        if grad_residual is not None:
            store_tile(grad_residual, slope, batch, channel, row, column, keep, o_b, o_c, o_h, o_w)
        if grad_gamma is not None:
            if PER_PIXEL:
                change = strength * slope
                store_tile(grad_gamma, change * value, batch, channel, row, column, keep, o_b, o_c, o_h, o_w)
                store_tile(grad_beta, change, batch, channel, row, column, keep, o_b, o_c, o_h, o_w)
            else:
                sum_gain += slope * value
                sum_bias += slope
    if grad_gamma is not None and not PER_PIXEL:
        offset = ((row * column_groups + group) * batches + batch) * channels + channel
        tl.store(grad_gamma + offset, strength * tl.sum(sum_gain, 1), mask=channel < channels)
        tl.store(grad_beta + offset, strength * tl.sum(sum_bias, 1), mask=channel < channels)


def affine_modulate_forward(
    features: Tensor, gamma: Tensor, beta: Tensor, residual: Tensor | None, strength: float, relu: bool
) -> Tensor:
    """The result, as `reference` defines it. The arguments are checked."""
    out = planes.like(features)
    if out.numel() == 0:
        return out
    cut = planes.cut(features.shape, (features, gamma, beta, residual, out))
    with planes.on_device(features):
        affine_modulate_kernel[(cut.programs,)](
            features, gamma, beta, residual, out, strength,
            features.shape[1], cut.rows, cut.columns, cut.channel_tiles, cut.column_tiles,
            *(stride for strides in cut.strides for stride in strides),
            PER_PIXEL=gamma.ndim == 4, RELU=relu,
            BLOCK_C=cut.block_channels, BLOCK_W=cut.block_columns,
        )  # fmt: skip
    return out


def affine_modulate_backward(
    grad: Tensor,
    features: Tensor,
    gamma: Tensor,
    beta: Tensor,
    residual: Tensor | None,
    strength: float,
    relu: bool,
    *,
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of features, gamma, beta and residual.

    Args:
        grad: gradient of the result, [B, C, H, W] of any strides.
        wanted: whether those of features, of gamma and beta, and of residual are; None is returned for the others.
    """
    import torch

    per_pixel = gamma.ndim == 4
    grad_features = planes.like(features) if wanted[0] else None
    grad_residual = None
    if wanted[2] and residual is not None:
        grad_residual = planes.like(features, dtype=residual.dtype)
    if features.numel() == 0:
        empty = (torch.zeros_like(gamma), torch.zeros_like(beta)) if wanted[1] else (None, None)
        return grad_features, *empty, grad_residual
    layout = planes.like(features) if grad_features is None else grad_features
    cut = planes.cut(features.shape, (grad, features, gamma, beta, residual, layout))
    tiles = 1 if per_pixel else min(TILES, triton.next_power_of_2(cut.column_tiles))
    groups = -(-cut.column_tiles // tiles)
    batch, channels = features.shape[:2]
    grad_gamma = grad_beta = None
    if wanted[1] and per_pixel:
        grad_gamma, grad_beta = (planes.like(features, dtype=given.dtype) for given in (gamma, beta))
    elif wanted[1]:
        partial = (2, cut.rows * groups, batch, channels)
        grad_gamma, grad_beta = torch.empty(partial, dtype=torch.float32, device=features.device)
    with planes.on_device(features):
        affine_modulate_backward_kernel[(batch * cut.rows * cut.channel_tiles * groups,)](
            grad, features, gamma, beta, residual, grad_features, grad_gamma, grad_beta, grad_residual, strength,
            channels, cut.rows, cut.columns, cut.channel_tiles, groups, batch,
            *(stride for strides in cut.strides for stride in strides),
            PER_PIXEL=per_pixel, RELU=relu,
            BLOCK_C=cut.block_channels, BLOCK_W=cut.block_columns, TILES=tiles,
        )  # fmt: skip
    if grad_gamma is not None and grad_beta is not None and not per_pixel:
        grad_gamma, grad_beta = grad_gamma.sum(0).to(gamma.dtype), grad_beta.sum(0).to(beta.dtype)
    return grad_features, grad_gamma, grad_beta, grad_residual
