# SPDX-License-Identifier: Apache-2.0
"""`conv_block` in Triton: an implicit matrix product of pixels by output channels, nothing unfolded in memory.

A program computes ``ROWS`` x ``COLUMNS`` pixels and ``BLOCK_N`` channels. The pixels of a tile are neighbours in both
directions, so that the nine taps of a 3x3 convolution find most of what they read in the cache of the multiprocessor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import triton
import triton.language as tl

from pitviper.kernels import registry
from pitviper.kernels.conv_block.tiling import COMPILED, Tiling
from pitviper.kernels.launch import Launch

if TYPE_CHECKING:
    from torch import Tensor

    from pitviper.kernels.aot import Variant

_STAGES: Final = 3
_POINTERS: Final = ("x", "weight", "bias", "addend", "out", "head", "head_bias", "coarse", "coarse_weight")


@triton.jit
def _operands_by_tap(
    x_ptr, weight_ptr, step, oy, ox, n, height, width,
    C_IN: tl.constexpr, C_OUT: tl.constexpr, KERNEL: tl.constexpr, STRIDE: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Pixels [M, K] and weights [K, N] of step ``step``: K channels of one tap, so that a pixel is one run of bytes."""
    CHUNKS: tl.constexpr = C_IN // BLOCK_K
    tap = step // CHUNKS
    c = (step % CHUNKS) * BLOCK_K + tl.arange(0, BLOCK_K)
    y = oy * STRIDE + tap // KERNEL - KERNEL // 2
    x = ox * STRIDE + tap % KERNEL - KERNEL // 2
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    pixels = tl.load(x_ptr + ((y * width + x) * C_IN)[:, None] + c[None, :], mask=inside[:, None], other=0.0)
    at = weight_ptr + n[None, :] * (KERNEL * KERNEL * C_IN) + (tap * C_IN + c)[:, None]
    weights = tl.load(at, mask=(n < C_OUT)[None, :], other=0.0)
    return pixels, weights


@triton.jit
def _operands_across_taps(
    x_ptr, weight_ptr, step, oy, ox, n, height, width,
    C_IN: tl.constexpr, C_OUT: tl.constexpr, KERNEL: tl.constexpr, STRIDE: tl.constexpr, BLOCK_K: tl.constexpr,
    UNSHUFFLE: tl.constexpr,
):  # fmt: skip
    """The same with K counted over taps and channels together: for few channels, and for the space-to-depth load."""
    TAPS: tl.constexpr = KERNEL * KERNEL
    k = step * BLOCK_K + tl.arange(0, BLOCK_K)
    tap, c = k // C_IN, k % C_IN
    y = (oy * STRIDE)[:, None] + (tap // KERNEL - KERNEL // 2)[None, :]
    x = (ox * STRIDE)[:, None] + (tap % KERNEL - KERNEL // 2)[None, :]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width) & (k < TAPS * C_IN)[None, :]
    if UNSHUFFLE:
        # Channel 4 s + 2 p + q of the map is plane s of the frame at row 2 y + p and column 2 x + q.
        row, column = 2 * y + (c % 4 // 2)[None, :], 2 * x + (c % 2)[None, :]
        at = (row * (2 * width) + column) * (C_IN // 4) + (c // 4)[None, :]
    else:
        at = (y * width + x) * C_IN + c[None, :]
    pixels = tl.load(x_ptr + at, mask=inside, other=0.0)
    known = (n < C_OUT)[None, :] & (k < TAPS * C_IN)[:, None]
    weights = tl.load(weight_ptr + n[None, :] * (TAPS * C_IN) + k[:, None], mask=known, other=0.0)
    return pixels, weights


@triton.jit
def _finish(
    total, addend_ptr, y, x, n, height, width,
    C_OUT: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """``total`` [M, N] of a map of height x width pixels with the addend, rectified; its places in the map, a mask."""
    inside = ((y < height) & (x < width))[:, None] & (n < C_OUT)[None, :]
    at = ((y * width + x) * C_OUT)[:, None] + n[None, :]
    if addend_ptr is not None:
        total += tl.load(addend_ptr + at, mask=inside, other=0.0).to(tl.float32)
    if RELU:
        total = tl.maximum(total, 0.0, propagate_nan=tl.PropagateNan.ALL)
    return total, at, inside


@triton.jit
def _store_logits(
    features, head_ptr, head_bias_ptr, coarse_ptr, coarse_weight_ptr, logits_ptr, image, oy, ox, n, height, width,
    C_OUT: tl.constexpr, OUTPUTS: tl.constexpr, C_COARSE: tl.constexpr, BLOCK_COARSE: tl.constexpr,
):  # fmt: skip
    """Logits of ``features`` [M, C_OUT], the pixels at rows oy and columns ox of a map of height x width.

    Four outputs are the 2 x 2 logits of a pixel. The coarse map has half the logits' rows and columns; its 1x1
    convolution gives four outputs, the 2 x 2 logits of its pixel.
    """
    inside = (oy < height) & (ox < width)
    SIDE: tl.constexpr = 2 if OUTPUTS == 4 else 1
    if coarse_ptr is not None:
        # Where each logit has a pixel of its own, four of them share one of the coarse map, by their phase.
        coarse_height, coarse_width = height * SIDE // 2, width * SIDE // 2
        coarse_ptr += image * coarse_height * coarse_width * C_COARSE
        c = tl.arange(0, BLOCK_COARSE)
        at = (oy.to(tl.int64) * SIDE // 2 * coarse_width + ox * SIDE // 2) * C_COARSE
        known = inside[:, None] & (c < C_COARSE)[None, :]
        coarse = tl.load(coarse_ptr + at[:, None] + c[None, :], mask=known, other=0.0).to(tl.float32)
    logits_ptr += image * height * width * OUTPUTS
    for output in tl.static_range(OUTPUTS):
        weights = tl.load(head_ptr + output * C_OUT + n, mask=n < C_OUT, other=0.0)
        logit = tl.sum(features * weights[None, :], 1) + tl.load(head_bias_ptr + output)
        if coarse_ptr is not None:
            if OUTPUTS == 4:
                weights = tl.load(coarse_weight_ptr + output * C_COARSE + c, mask=c < C_COARSE, other=0.0)[
                    None, :
                ]
            else:
                phase = oy % 2 * 2 + ox % 2
                at = (phase * C_COARSE)[:, None] + c[None, :]
                weights = tl.load(coarse_weight_ptr + at, mask=known, other=0.0)
            logit += tl.sum(coarse * weights, 1)
        at = (oy * SIDE + output // 2) * (width * SIDE) + ox * SIDE + output % 2
        tl.store(logits_ptr + at, logit, mask=inside)


@triton.jit
def conv_block_kernel(
    x_ptr, weight_ptr, bias_ptr, addend_ptr, out_ptr, head_ptr, head_bias_ptr, coarse_ptr, coarse_weight_ptr,
    height, width, conv_height, conv_width,
    C_IN: tl.constexpr, C_OUT: tl.constexpr, KERNEL: tl.constexpr, STRIDE: tl.constexpr,
    UNSHUFFLE: tl.constexpr, UPSAMPLE: tl.constexpr, RELU: tl.constexpr,
    OUTPUTS: tl.constexpr, C_COARSE: tl.constexpr, BLOCK_COARSE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr, BY_TAP: tl.constexpr,
    PRECISION: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    """Maps are dense NHWC; the weights [C_OUT, KERNEL, KERNEL, C_IN]; a program for each tile and block of N.

    ``height`` x ``width`` is the map that is convolved (after the space-to-depth), ``conv_*`` what the convolution
    gives, before UPSAMPLE = 2 repeats it. With OUTPUTS, ``out`` holds logits.
    """
    # The blocks of channels of a tile run next to each other, so that the second finds its pixels in the cache.
    program, block = tl.program_id(0) // tl.cdiv(C_OUT, BLOCK_N), tl.program_id(0) % tl.cdiv(C_OUT, BLOCK_N)
    tiles_x = tl.cdiv(conv_width, COLUMNS)
    tiles = tl.cdiv(conv_height, ROWS) * tiles_x
    image = (program // tiles).to(tl.int64)
    tile = program % tiles
    m = tl.arange(0, ROWS * COLUMNS)
    oy = tile // tiles_x * ROWS + m // COLUMNS
    ox = tile % tiles_x * COLUMNS + m % COLUMNS
    n = block * BLOCK_N + tl.arange(0, BLOCK_N)
    x_ptr += image * height * width * C_IN
    out_height, out_width = conv_height * UPSAMPLE, conv_width * UPSAMPLE
    if addend_ptr is not None:
        addend_ptr += image * out_height * out_width * C_OUT

    total = tl.zeros((ROWS * COLUMNS, BLOCK_N), tl.float32)
    for step in range(tl.cdiv(KERNEL * KERNEL * C_IN, BLOCK_K)):
        if BY_TAP:
            pixels, weights = _operands_by_tap(
                x_ptr, weight_ptr, step, oy, ox, n, height, width, C_IN, C_OUT, KERNEL, STRIDE, BLOCK_K
            )
        else:
            pixels, weights = _operands_across_taps(
                x_ptr, weight_ptr, step, oy, ox, n, height, width,
                C_IN, C_OUT, KERNEL, STRIDE, BLOCK_K, UNSHUFFLE,
            )  # fmt: skip
        if WIDEN:
            pixels, weights = pixels.to(tl.float32), weights.to(tl.float32)
        total = tl.dot(pixels, weights, total, input_precision=PRECISION)
    total += tl.load(bias_ptr + n, mask=n < C_OUT, other=0.0).to(tl.float32)[None, :]

    if OUTPUTS:
        features, _, _ = _finish(total, addend_ptr, oy, ox, n, conv_height, conv_width, C_OUT, RELU)
        _store_logits(
            features, head_ptr, head_bias_ptr, coarse_ptr, coarse_weight_ptr, out_ptr, image, oy, ox, n,
            conv_height, conv_width,
            C_OUT, OUTPUTS, C_COARSE, BLOCK_COARSE,
        )  # fmt: skip
    else:
        out_ptr += image * out_height * out_width * C_OUT
        # A pixel is computed once and written UPSAMPLE * UPSAMPLE times, each with its own addend.
        for copy in tl.static_range(UPSAMPLE * UPSAMPLE):
            y, x = oy * UPSAMPLE + copy // UPSAMPLE, ox * UPSAMPLE + copy % UPSAMPLE
            value, at, inside = _finish(total, addend_ptr, y, x, n, out_height, out_width, C_OUT, RELU)
            tl.store(out_ptr + at, value.to(out_ptr.dtype.element_ty), mask=inside)


def convolve(cut: Tiling, tensors: Mapping[str, Tensor | None]) -> None:
    """Run one convolution; the tensors are checked, dense in the order of their axes, and on one device.

    Args:
        tensors: By name, None or left out where there is none:
            "x" as ``cut.shape``, or the frame [N, 2 H, 2 W] of a space-to-depth;
            "weight" [c_out, k, k, c_in] of the dtype of x, "bias" float32 [c_out];
            "out" as ``cut.written``, where the result goes: float32 with a head, else of the dtype of x;
            "addend" of the shape of "out";
            "head" float32 [outputs, c_out], "head_bias" float32 [outputs];
            "coarse" [N, LH / 2, LW / 2, c_coarse] for logits [N, LH, LW], "coarse_weight" float32 [4, c_coarse].
    """
    out = tensors["out"]
    assert out is not None
    if out.numel():
        _launch(cut, tensors).run(out)


def _launch(cut: Tiling, tensors: Mapping[str, Tensor | None]) -> Launch:
    # Triton 3.9's interpreter multiplies the bits of bfloat16; as float32 the products are the same.
    widen = registry.interpreting() and "bfloat16" in str(getattr(tensors["x"], "dtype", ""))
    return Launch(
        conv_block_kernel,
        cut.programs,
        (*(tensors.get(name) for name in _POINTERS), *cut.sides()),
        {**cut.constants(), "WIDEN": widen},
        num_warps=cut.warps,
        num_stages=_STAGES,
    )


def aot_variants() -> tuple[Variant, ...]:
    """The launches of `COMPILED`, as the launcher would compile them."""
    import torch

    found = []
    for name, cut, quick in COMPILED:
        dtype = torch.float16 if cut.itemsize == 2 else torch.float32
        maps, wide = torch.empty(1, dtype=dtype, device="meta"), torch.empty(1, device="meta")
        tensors = {
            "x": maps,
            "weight": maps,
            "bias": wide,
            "out": wide if cut.outputs else maps,
            "addend": maps if cut.addend else None,
            **(dict.fromkeys(("head", "head_bias"), wide) if cut.outputs else {}),
            **({"coarse": maps, "coarse_weight": wide} if cut.c_coarse else {}),
        }
        found.append(
            _launch(cut, tensors).variant(
                "conv_block",
                f"{name}, {str(dtype).removeprefix('torch.')}",
                cut.cost(),
                shapes=cut.described(),
                quick=quick,
            )
        )
    return tuple(found)
