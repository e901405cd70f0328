# SPDX-License-Identifier: Apache-2.0
"""What one launch of `conv_block` cannot do without. What is fused with it on either side is added to it."""

from __future__ import annotations

from pitviper.kernels.cost import Cost

_BIAS_BYTES = 4


def conv_block_cost(
    shape: tuple[int, int, int, int],
    out_channels: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    upsample: int = 1,
    addend: bool = False,
    outputs: int = 0,
    itemsize: int = 2,
) -> Cost:
    """A convolution with bias, and what follows it.

    The space-to-depth load of the stem changes neither bytes nor operations: count it by the packed shape.

    Args:
        shape: [N, H, W, C_in] of the map that is convolved.
        kernel: 3 or 1, padded to keep the size.
        stride: The output has ceil(H / stride) rows.
        upsample: 2 where a result is repeated to 2 x 2 pixels: computed once, written four times.
        addend: Whether a map of the output's shape is read and added (the residual, or the decoder's skip).
        outputs: Logits (float32) of each result that are written in place of the map: 0, 1 or 4.
        itemsize: Bytes of one element of maps and weights; biases and the head are float32.
    """
    batch, height, width, in_channels = shape
    results = batch * -(-height // stride) * -(-width // stride)
    weights = kernel * kernel * in_channels * out_channels
    map_elements = results * upsample**2 * out_channels
    read = batch * height * width * in_channels + weights + (map_elements if addend else 0)
    return Cost(
        bytes_read=read * itemsize + _BIAS_BYTES * (out_channels + outputs * (out_channels + 1)),
        bytes_written=4 * results * outputs if outputs else map_elements * itemsize,
        operations=2 * results * (weights + outputs * out_channels),
    )


def merge_cost(
    shape: tuple[int, int, int, int],
    low_channels: int,
    *,
    scale: int = 2,
    affine: bool = False,
    itemsize: int = 2,
) -> Cost:
    """What joining a lower map to a convolution's input adds to it: that input itself is counted there.

    Args:
        shape: [N, H, W, C] of the input that is joined.
        low_channels: Channels of the lower map [N, H / scale, W / scale, C_low].
        affine: Whether its 1x1 convolution gives scale and shift, 2 C channels, instead of a summand.
        itemsize: Bytes of one element of maps and weights.
    """
    batch, height, width, channels = shape
    low, outputs = batch * (height // scale) * (width // scale), channels * (2 if affine else 1)
    return Cost(
        bytes_read=low_channels * (low + outputs) * itemsize + _BIAS_BYTES * outputs,
        operations=2 * low * low_channels * outputs
        + batch * height * width * channels * (2 if affine else 1),
    )


def coarse_cost(shape: tuple[int, int, int, int], *, itemsize: int = 2) -> Cost:
    """What adding a coarse map [N, H, W, C] to the logits of a head adds to it: four logits of each pixel."""
    batch, height, width, channels = shape
    return Cost(
        bytes_read=batch * height * width * channels * itemsize + 4 * 4 * channels,
        operations=2 * batch * height * width * 4 * (channels + 1),
    )
