# SPDX-License-Identifier: Apache-2.0
"""`affine_modulate` in Triton: one launch forward, one (and a small sum over tiles) backward.

Kernels name every stride, since operands keep their own layout; that is why their lists of arguments are long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import triton
import triton.language as tl

from pitviper.kernels import planes
from pitviper.kernels.affine_modulate.cost import affine_modulate_cost, affine_modulate_gradient_cost
from pitviper.kernels.launch import Launch
from pitviper.kernels.tile_access import load_tile, place, store_tile

if TYPE_CHECKING:
    from torch import Tensor

    from pitviper.kernels.aot import Variant

TILES = 4
"""Tiles that one program of the backward kernel sums over at most: there are as many times fewer partial sums."""


@triton.jit
def _load_parameter(
    pointer, batch, channel, row, column, channels, keep, s_b, s_c, s_h, s_w, PER_PIXEL: tl.constexpr
):  # fmt: skip
    """[BLOCK_C, BLOCK_W], or [BLOCK_C, 1] per channel."""
    if PER_PIXEL:
        values = load_tile(pointer, batch, channel, row, column, keep, s_b, s_c, s_h, s_w)
    else:
        values = tl.load(pointer + batch * s_b + channel * s_c, mask=channel < channels, other=0.0)
        values = values.to(tl.float32)[:, None]
    return values


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
    gain = _load_parameter(
        gamma, batch, channel, row, column, channels, keep, g_b, g_c, g_h, g_w, PER_PIXEL
    )  # fmt: skip
    bias = _load_parameter(
        beta, batch, channel, row, column, channels, keep, b_b, b_c, b_h, b_w, PER_PIXEL
    )  # fmt: skip
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
            gain = _load_parameter(
        gamma, batch, channel, row, column, channels, keep, g_b, g_c, g_h, g_w, PER_PIXEL
    )  # fmt: skip
            gain = 1.0 + strength * (gain - 1.0)
        if RELU:
            bias = _load_parameter(
        beta, batch, channel, row, column, channels, keep, b_b, b_c, b_h, b_w, PER_PIXEL
    )  # fmt: skip
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
    if out.numel():
        _forward(features, gamma, beta, residual, out, (strength, relu)).run(features)
    return out


def affine_modulate_backward(
    grad: Tensor,
    features: Tensor,
    gamma: Tensor,
    beta: Tensor,
    residual: Tensor | None,
    settings: tuple[float, bool],
    *,
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of features, gamma, beta and residual.

    Args:
        grad: gradient of the result, [B, C, H, W] of any strides.
        settings: strength, and whether a ReLU follows.
        wanted: whether those of features, of gamma and beta, and of residual are; None is returned for the others.
    """
    import torch

    grad_features = planes.like(features) if wanted[0] else None
    grad_residual = None
    if wanted[2] and residual is not None:
        grad_residual = planes.like(features, dtype=residual.dtype)
    if features.numel() == 0:
        empty = (torch.zeros_like(gamma), torch.zeros_like(beta)) if wanted[1] else (None, None)
        return grad_features, *empty, grad_residual
    given = (grad, features, gamma, beta, residual)
    launch, grads = _backward(given, (grad_features, grad_residual), settings, parameters=wanted[1])
    launch.run(features)
    if grads is None:
        return grad_features, None, None, grad_residual
    if gamma.ndim == 2:
        grads = grads[0].sum(0).to(gamma.dtype), grads[1].sum(0).to(beta.dtype)
    return grad_features, *grads, grad_residual


def _forward(
    features: Tensor,
    gamma: Tensor,
    beta: Tensor,
    residual: Tensor | None,
    out: Tensor,
    settings: tuple[float, bool],
) -> Launch:
    cut = planes.cut(features.shape, (features, gamma, beta, residual, out))
    values = (
        features, gamma, beta, residual, out, settings[0],
        features.shape[1], cut.rows, cut.columns, cut.channel_tiles, cut.column_tiles,
        *(stride for strides in cut.strides for stride in strides),
    )  # fmt: skip
    return Launch(affine_modulate_kernel, cut.programs, values, _constants(cut, gamma, settings))


def _backward(
    given: tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None],
    maps: tuple[Tensor | None, Tensor | None],
    settings: tuple[float, bool],
    *,
    parameters: bool,
) -> tuple[Launch, tuple[Tensor, Tensor] | None]:
    """The launch, and the gradients of gamma and beta that it writes: per channel as [rows * groups, B, C]."""
    import torch

    _, features, gamma, beta, _ = given
    per_pixel = gamma.ndim == 4
    layout = planes.like(features) if maps[0] is None else maps[0]
    cut = planes.cut(features.shape, (*given, layout))
    tiles = 1 if per_pixel else min(TILES, triton.next_power_of_2(cut.column_tiles))
    groups = -(-cut.column_tiles // tiles)
    batch, channels = features.shape[:2]
    grads = None
    if parameters and per_pixel:
        grads = planes.like(features, dtype=gamma.dtype), planes.like(features, dtype=beta.dtype)
    elif parameters:
        partial = torch.empty(
            (2, cut.rows * groups, batch, channels), dtype=torch.float32, device=features.device
        )
        grads = partial[0], partial[1]
    values = (
        *given, maps[0], *(grads or (None, None)), maps[1], settings[0],
        channels, cut.rows, cut.columns, cut.channel_tiles, groups, batch,
        *(stride for strides in cut.strides for stride in strides),
    )  # fmt: skip
    constants = {**_constants(cut, gamma, settings), "TILES": tiles}
    programs = batch * cut.rows * cut.channel_tiles * groups
    return Launch(affine_modulate_backward_kernel, programs, values, constants), grads


def _constants(cut: planes.Cut, gamma: Tensor, settings: tuple[float, bool]) -> dict[str, int | bool]:
    return {
        "PER_PIXEL": gamma.ndim == 4,
        "RELU": settings[1],
        "BLOCK_C": cut.block_channels,
        "BLOCK_W": cut.block_columns,
    }


def aot_variants() -> tuple[Variant, ...]:
    """Forms for ahead-of-time compilation: SCAM on a stage of pit-s, and training."""
    stage, batch = (1, 16, 256, 320), (8, 64, 64, 64)
    return (
        _variant("per channel", stage, "float16", quick=True),
        _variant("per pixel, residual, ReLU", stage, "float16", per_pixel=True, extras=True),
        _variant("per channel, residual, ReLU, rows", batch, "float32", last=False, extras=True),
        _variant("per channel, rows", batch, "bfloat16", last=False),
        _variant("gradients, per channel", batch, "bfloat16", backward=True, quick=True),
        _variant("gradients, per channel, residual, ReLU", batch, "float16", backward=True, extras=True),
        _variant("gradients, per channel, residual, ReLU, rows", batch, "float32", last=False, backward=True,
                 extras=True),
        _variant("gradients, per pixel, residual, ReLU", batch, "float32", backward=True, per_pixel=True,
                 extras=True),
    )  # fmt: skip


def _variant(
    name: str,
    shape: tuple[int, int, int, int],
    dtype: str,
    *,
    last: bool = True,
    per_pixel: bool = False,
    extras: bool = False,
    backward: bool = False,
    quick: bool = False,
) -> Variant:
    """The launch on tensors without memory; ``extras`` are the residual and the ReLU."""
    import torch

    layout = torch.channels_last if last else torch.contiguous_format
    kind = getattr(torch, dtype)
    features = torch.empty(shape, dtype=kind, device="meta", memory_format=layout)
    gamma = torch.empty_like(features) if per_pixel else features.new_empty(shape[:2])
    residual = features if extras else None
    if backward:
        maps = features, features if extras else None
        given = (features, features, gamma, gamma, residual)
        launch, _ = _backward(given, maps, (0.5, extras), parameters=True)
    else:
        launch = _forward(features, gamma, gamma, residual, features, (0.5, extras))
    cost = affine_modulate_gradient_cost if backward else affine_modulate_cost
    counted = cost(shape, per_pixel=per_pixel, residual=extras, itemsize=kind.itemsize)
    shapes = f"f {list(shape)}, {dtype}, {'channels last' if last else 'rows'}"
    return launch.variant("affine_modulate", f"{name}, {dtype}", counted, shapes=shapes, quick=quick)
