# SPDX-License-Identifier: Apache-2.0
"""What one `standardise` cannot do without."""

from __future__ import annotations

from pitviper.kernels.cost import Cost
from pitviper.kernels.standardise.reference import BOX


def standardise_cost(
    shape: tuple[int, int], *, stride: int = 1, frame_itemsize: int = 2, itemsize: int = 2
) -> Cost:
    """Statistics of a frame and its normalised, padded form.

    The frame is counted as read once. The statistics have to be known before the first pixel is written, so it is
    looked at twice; the second look is the cache's, which holds a frame of this field on every board.

    Args:
        shape: [H, W] of the frame.
        stride: The sides of the result are the next multiples of it.
        frame_itemsize: Bytes of a raw pixel.
        itemsize: Bytes of a pixel of the result.
    """
    height, width = shape
    pixels = height * width
    padded = (height + -height % stride) * (width + -width % stride)
    # The box mean as running sums of rows and columns, two deviations with their squares, one multiply-add out.
    box = 2 * (BOX - 1)
    return Cost(
        bytes_read=pixels * frame_itemsize,
        bytes_written=padded * itemsize,
        operations=pixels * (box + 6) + 2 * padded,
    )
