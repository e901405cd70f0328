# SPDX-License-Identifier: Apache-2.0
"""Masks on which connected components go wrong first: late merges, long ways round, runs across words of 32 bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]


def spiral(side: int, *, step: int = 2) -> Mask:
    """One line of one pixel that winds inwards, ``step - 1`` pixels between its turns; [side, side]."""
    mask = np.zeros((side, side), np.bool_)
    for ring in range(0, (side + 1) // 2, step):
        last = side - 1 - ring
        mask[ring, max(ring - step, 0) : last + 1] = True
        mask[ring : last + 1, last] = True
        mask[last, ring : last + 1] = True
        mask[ring + step : last + 1, ring] = True
    return mask


def nested_cups(side: int) -> Mask:
    """U shapes inside each other: each is two columns until its last row joins them; [side, side]."""
    mask = np.zeros((side, side), np.bool_)
    for edge in range(0, side // 2, 2):
        mask[edge : side - edge, [edge, side - 1 - edge]] = True
        mask[side - 1 - edge, edge : side - edge] = True
    return mask


def tree(side: int) -> Mask:
    """Columns that merge in pairs, the pairs in pairs and so on: the deepest chain of late merges; [side, side]."""
    mask = np.zeros((side, side), np.bool_)
    columns = list(range(0, side, 2))
    row = 0
    while len(columns) > 1 and row + 2 < side:
        mask[row : row + 2, columns] = True
        row += 2
        for left, right in zip(columns[::2], columns[1::2], strict=False):
            mask[row, left : right + 1] = True
        columns = columns[::2]
        row += 1
    return mask


def comb(height: int, width: int, *, teeth_up: bool) -> Mask:
    """Every second column, all joined in the last row or in the first; [height, width]."""
    mask = np.zeros((height, width), np.bool_)
    mask[:, ::2] = True
    mask[-1 if teeth_up else 0] = True
    return mask


def adversarial_masks() -> dict[str, Mask]:
    """All of them by name, [H, W] each, H and W from 1 to 131."""
    rows, columns = np.indices((70, 131))
    row = np.array([[1, 0, 1, 1, 0, 0, 1] * 20], np.bool_)
    return {
        "empty": np.zeros((30, 70), np.bool_),
        "full": np.ones((30, 70), np.bool_),
        "checkerboard": (rows + columns) % 2 == 0,
        "stripes": columns % 2 == 0,
        "diagonals": (rows + columns) % 4 == 0,
        "other diagonals": (rows - columns) % 3 == 0,
        "isolated": (rows % 2 == 0) & (columns % 2 == 0),
        "words": (columns // 32 + rows) % 2 == 0,
        "spiral": spiral(65),
        "turned spiral": np.rot90(spiral(64, step=3)),
        "two spirals": spiral(97, step=4) | np.pad(spiral(93, step=4), 2),
        "cups": nested_cups(66),
        "caps": nested_cups(66)[::-1],
        "tree": tree(128),
        "tree upside down": tree(128)[::-1],
        "comb up": comb(40, 129, teeth_up=True),
        "comb down": comb(40, 129, teeth_up=False),
        "frame": np.pad(np.zeros((40, 100), np.bool_), 1, constant_values=True),
        "one row": row,
        "one column": row.T,
        "one pixel": np.ones((1, 1), np.bool_),
    }
