# SPDX-License-Identifier: Apache-2.0
"""How maps [B, C, H, W] of any strides are cut into tiles of channels x columns for element-wise Triton kernels.

Where the rows of every operand follow one another, a plane is one long row, so that a kernel neither divides by the
width nor leaves lanes idle at the end of each row. Takes tensors and needs torch only for those that it makes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TILE: Final = 2048
"""Elements of a tile: 16 a thread with 128 threads, two 16-byte accesses of a half type."""
WIDEST: Final = 128
"""Channels of a tile at most, where they lie next to each other in memory."""

NARROWEST: Final = 16
"""Columns of a tile at least, where a row has as many: 32 bytes of a half type, one sector of memory."""

Strides = tuple[int, int, int, int]


@dataclass(frozen=True)
class Cut:
    """One launch over maps of the same [B, C, H, W].

    Attributes:
        rows: H, or 1 where planes are one row.
        columns: W, or H * W.
        strides: of batch, channel, row and column, in elements, for each operand; zeros where there is none.
        block_channels: channels of a tile, a power of two.
        block_columns: columns of a tile, a power of two.
        channel_tiles: tiles along the channels.
        column_tiles: tiles along a row.
        programs: tiles in all.
    """

    rows: int
    columns: int
    strides: tuple[Strides, ...]
    block_channels: int
    block_columns: int
    channel_tiles: int
    column_tiles: int
    programs: int


def cut(
    shape: Sequence[int], operands: Sequence[Tensor | None], *, tile: int = TILE, widest: int = TILE
) -> Cut:
    """Tiles for operands that are [B, C, H, W] like ``shape``, [B, C], or absent.

    Args:
        shape: [B, C, H, W]; no zero.
        operands: the first decides whether tiles are wide in channels or in columns.
        tile: elements of a tile at most.
        widest: columns of a tile at most.
    """
    batch, channels, height, width = shape
    maps = [operand for operand in operands if operand is not None and operand.ndim == 4]
    flat = all(_rows_follow(operand, height, width) for operand in maps)
    rows, columns = (1, height * width) if flat else (height, width)
    strides = tuple(_strides(operand, flat, width) for operand in operands)
    block_channels, block_columns = _blocks(channels, columns, strides[0], tile=tile, widest=widest)
    channel_tiles, column_tiles = -(-channels // block_channels), -(-columns // block_columns)
    programs = batch * rows * channel_tiles * column_tiles
    return Cut(rows, columns, strides, block_channels, block_columns, channel_tiles, column_tiles, programs)


def like(features: Tensor, *, channels: int | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """A new map of the size of ``features``, channels-last where ``features`` is, in rows otherwise."""
    import torch

    shape = list(features.shape)
    if channels is not None:
        shape[1] = channels
    last = features.is_contiguous(memory_format=torch.channels_last) and not features.is_contiguous()
    return torch.empty(
        shape,
        dtype=dtype or features.dtype,
        device=features.device,
        memory_format=torch.channels_last if last else torch.contiguous_format,
    )


def on_device(tensor: Tensor) -> contextlib.AbstractContextManager[object]:
    """Make the tensor's GPU the current one, to which Triton launches."""
    import torch

    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def _rows_follow(operand: Tensor, height: int, width: int) -> bool:
    return height == 1 or width == 1 or operand.stride(2) == width * operand.stride(3)


def _strides(operand: Tensor | None, flat: bool, width: int) -> Strides:
    if operand is None:
        return 0, 0, 0, 0
    if operand.ndim == 2:
        return operand.stride(0), operand.stride(1), 0, 0
    batch, channel, row, column = operand.stride()
    if flat:
        return batch, channel, 0, row if width == 1 else column
    return batch, channel, row, column


def _blocks(channels: int, columns: int, lead: Strides, *, tile: int, widest: int) -> tuple[int, int]:
    """Channels and columns of a tile: as many as possible of those that are next to each other in memory."""
    if lead[1] == 1 != lead[3]:
        block_channels = min(_power_of_two(channels), WIDEST, tile)
        return block_channels, min(_power_of_two(columns), tile // block_channels)
    most = min(_power_of_two(columns), widest, tile)
    narrower = [most >> step for step in range(4) if step == 0 or most >> step >= NARROWEST]
    idle = {block: -columns % block for block in narrower}
    # The widest that leaves few lanes idle at the end of a row, or else the one that leaves fewest.
    block_columns = next(
        (block for block in narrower if 8 * idle[block] <= columns), min(idle, key=idle.__getitem__)
    )
    return min(_power_of_two(channels), tile // block_columns), block_columns


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()
