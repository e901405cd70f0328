# SPDX-License-Identifier: Apache-2.0
"""What one launch of `residual_block` cannot do without."""

from __future__ import annotations

from pitviper.kernels.cost import Cost


def residual_block_cost(shape: tuple[int, int, int, int], *, itemsize: int = 2) -> Cost:
    """``relu(x + conv(relu(conv(x))))`` with two 3x3 convolutions: the map is read once and written once.

    An implementation that keeps the intermediate on the chip computes the halo of each tile again; that is its own
    price, which the floor does not hold.

    Args:
        shape: [B, H, W, C] of the map.
        itemsize: Bytes of one element of the map and the weights; the two biases are float32.
    """
    batch, height, width, channels = shape
    pixels, weights = batch * height * width, 2 * 9 * channels * channels
    return Cost(
        bytes_read=(pixels * channels + weights) * itemsize + 2 * 4 * channels,
        bytes_written=pixels * channels * itemsize,
        operations=2 * pixels * weights,
    )
