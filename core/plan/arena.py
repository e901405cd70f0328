# SPDX-License-Identifier: Apache-2.0
"""Where the activations of a plan lie: one block of memory in which a value takes the place of values that are done.

Every size is a multiple of the number of stride x stride blocks of the padded frame, so offsets are computed once for
all frame sizes, in elements per block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

ALIGNMENT: Final = 128
"""Elements per block that every offset is a multiple of: 256 bytes in half precision, whatever the frame's size."""


def place(sizes: Sequence[int], lives: Sequence[tuple[int, int]]) -> tuple[list[int], int]:
    """Offsets at which no two values that are alive at the same time overlap, larger values placed first.

    Args:
        sizes: Elements per block of each value.
        lives: First and last launch of each value at which its memory is in use, both included.

    Returns:
        Offset of each value, and the size of the whole, in elements per block.
    """
    offsets = [0] * len(sizes)
    placed: list[int] = []
    for index in sorted(range(len(sizes)), key=lambda i: (-sizes[i], lives[i])):
        begin, end = lives[index]
        taken = sorted(
            (offsets[other], offsets[other] + _aligned(sizes[other]))
            for other in placed
            if lives[other][0] <= end and begin <= lives[other][1]
        )
        at = 0
        for low, high in taken:
            if at + sizes[index] <= low:
                break
            at = max(at, high)
        offsets[index] = at
        placed.append(index)
    return offsets, max((offsets[i] + _aligned(sizes[i]) for i in range(len(sizes))), default=0)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
