# SPDX-License-Identifier: Apache-2.0
"""What element-wise Triton kernels over maps of any strides share: a program's place, and reading and writing a tile.

A tile is [channels, columns] (see `planes`). Offsets are 64 bits wide; arithmetic is float32 whatever is in memory.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def place(rows, channel_tiles, column_tiles, BLOCK_C: tl.constexpr):
    """Batch, channels [BLOCK_C], row and number of the tile along the row, which runs fastest."""
    program = tl.program_id(0)
    tile = program % column_tiles
    program = program // column_tiles
    row = program % rows
    program = program // rows
    channel = (program % channel_tiles).to(tl.int64) * BLOCK_C + tl.arange(0, BLOCK_C)
    return (program // channel_tiles).to(tl.int64), channel, row, tile


@triton.jit
def load_tile(pointer, batch, channel, row, column, keep, s_b, s_c, s_h, s_w):
    at = batch * s_b + row.to(tl.int64) * s_h
    at += channel[:, None] * s_c + column.to(tl.int64)[None, :] * s_w
    return tl.load(pointer + at, mask=keep, other=0.0).to(tl.float32)


@triton.jit
def store_tile(pointer, value, batch, channel, row, column, keep, s_b, s_c, s_h, s_w):
    at = batch * s_b + row.to(tl.int64) * s_h
    at += channel[:, None] * s_c + column.to(tl.int64)[None, :] * s_w
    tl.store(pointer + at, value.to(pointer.dtype.element_ty), mask=keep)
