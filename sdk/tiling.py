# SPDX-License-Identifier: Apache-2.0
"""Frames that are too large for one pass: overlapping tiles, blended by nearest centre.

The frame is standardised as a whole before it is cut, so every tile has the scale of the whole frame. Tiles
start at multiples of the network's stride, so every pixel has the phase that it has in the whole frame. A
pixel is taken from the tile whose centre is nearest: it then lies at least half the overlap inside that tile,
unless the frame ends there. Where the network looks no further than that, tiled equals whole. Targets are
extracted from the joined map, so a target on a seam is one target.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.arguments import require_whole
from pitviper.sdk.errors import InputError

__all__ = ["SMALLEST_OVERLAP", "Tiling", "run_tiled", "tile_cuts"]

SMALLEST_OVERLAP = 64
"""Pixels that neighbouring tiles must share at least: 32 of context on each side of a seam."""


@dataclass(frozen=True)
class Tiling:
    """When a frame is cut into tiles, and how.

    Attributes:
        max_pixels: Frames with more pixels than this are cut.
        side: Height and width of a tile in pixels; rounded down to a multiple of the network's stride.
        overlap: Pixels that neighbouring tiles share at least; rounded up to a multiple of twice the stride. Half
            of the default is further than the shipped networks look, so that tiling changes nothing for them.

    Raises:
        InputError: A value out of range.
    """

    max_pixels: int = 4_194_304
    side: int = 1024
    overlap: int = 192

    def __post_init__(self) -> None:
        require_whole("Tiling.max_pixels", self.max_pixels, least=1)
        require_whole("Tiling.overlap", self.overlap, least=SMALLEST_OVERLAP, note=" px")
        require_whole("Tiling.side", self.side, least=2 * self.overlap, note=" px, twice the overlap")

    def applies_to(self, height: int, width: int) -> bool:
        """Whether a frame of this size is cut."""
        return height * width > self.max_pixels


def tile_cuts(length: int, side: int, overlap: int) -> list[tuple[int, int, int]]:
    """Tiles along one axis: ``(origin, first, last)``, where the tile provides the pixels [first, last).

    Args:
        length: Pixels along the axis. Where all three are multiples of the stride, so are the origins.
        side: Pixels of a tile.
        overlap: Pixels that neighbours share at least.

    Returns:
        Tiles in order. The last one is flush with the border, so its overlap is larger; the ranges
        [first, last) cover every pixel once.
    """
    if length <= side:
        return [(0, 0, length)]
    origins = [*range(0, length - side, side - overlap), length - side]
    seams = [0]
    for before, after in itertools.pairwise(origins):
        # Between the centres of the two tiles, which is the middle of what they share.
        seams.append((before + after + side) // 2)
    seams.append(length)
    return [(origin, seams[index], seams[index + 1]) for index, origin in enumerate(origins)]


def run_tiled(
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    standardised: NDArray[np.float32],
    tiling: Tiling,
    stride: int,
) -> NDArray[np.float32]:
    """Probability of a standardised, padded frame, tile by tile.

    Args:
        run: Network, float32 [1, 1, h, w] -> float32 [1, 1, h, w].
        standardised: float32 [Hp, Wp], standardised over the whole frame, sides multiples of ``stride``.
        tiling: Size and overlap of the tiles.
        stride: Stride of the network.

    Returns:
        float32 [Hp, Wp].
    """
    joined = np.empty_like(standardised)
    for (top, first_row, last_row), (left, first, last), height, width in _tiles(
        standardised.shape, tiling, stride
    ):
        tile = np.ascontiguousarray(standardised[top : top + height, left : left + width])
        found = run(tile[None, None])[0, 0]
        joined[first_row:last_row, first:last] = found[
            first_row - top : last_row - top, first - left : last - left
        ]
    return joined


def _tiles(
    shape: tuple[int, ...], tiling: Tiling, stride: int
) -> Iterator[tuple[tuple[int, int, int], tuple[int, int, int], int, int]]:
    side = tiling.side // stride * stride
    overlap = -(-tiling.overlap // (2 * stride)) * 2 * stride
    height, width = min(side, shape[0]), min(side, shape[1])
    if overlap >= side:
        raise InputError(
            f"tiles of {tiling.side} px are too small for a network of stride {stride}; enlarge side"
        )
    for rows in tile_cuts(shape[0], side, overlap):
        for columns in tile_cuts(shape[1], side, overlap):
            yield rows, columns, height, width
