# SPDX-License-Identifier: Apache-2.0
"""What one launch of `conv_block` cannot do without."""

from __future__ import annotations

from pitviper.kernels.cost import Cost


def conv_block_cost(
    shape: tuple[int, int, int, int],
    out_channels: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    upsample: int = 1,
    addend: bool = False,
    itemsize: int = 2,
) -> Cost:
    """A convolution with bias, and what is fused with it.

    The space-to-depth load of the stem changes neither bytes nor operations: count it by the packed shape.

    Args:
        shape: [B, H, W, C_in] of the map that is convolved.
        kernel: 3 or 1, padded to keep the size.
        stride: The output has ceil(H / stride) rows.
        upsample: 2 where the 1x1 convolution's result is repeated to twice the rows and columns: computed once
            for each input pixel, written four times.
        addend: Whether a map of the output's shape is read and added (the residual, or the decoder's skip).
        itemsize: Bytes of one element of maps and weights; the bias is float32.
    """
    batch, height, width, in_channels = shape
    rows, columns = -(-height // stride), -(-width // stride)
    weights = kernel * kernel * in_channels * out_channels
    written = batch * rows * columns * upsample**2 * out_channels
    read = batch * height * width * in_channels + weights + (written if addend else 0)
    return Cost(
        bytes_read=read * itemsize + 4 * out_channels,
        bytes_written=written * itemsize,
        operations=2 * batch * rows * columns * weights,
    )
