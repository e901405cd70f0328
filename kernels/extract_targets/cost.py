# SPDX-License-Identifier: Apache-2.0
"""What one `extract_targets` cannot do without."""

from __future__ import annotations

from typing import Final

from pitviper.kernels.cost import Cost

RECORD_BYTES: Final = 48
"""One target: centroid (2 x 8), box (4 x 4), area (4), peak, mean and contrast (3 x 4)."""


def extract_targets_cost(
    shape: tuple[int, int, int],
    *,
    head_channels: int = 0,
    itemsize: int = 2,
    frame_itemsize: int = 0,
    max_targets: int = 256,
) -> Cost:
    """Threshold, components and records, with the head's 1x1 convolution before them.

    Labels are counted as staying on the chip.

    Args:
        shape: [B, H, W] of the frame.
        head_channels: Features a pixel that the head reads, 0 where the map of probabilities is given. A packed
            stage of 4 c channels at half resolution has c.
        itemsize: Bytes of one feature or probability.
        frame_itemsize: Bytes of a raw pixel, 0 where no contrast is asked for; the frame is then not read.
        max_targets: Records of each frame.
    """
    batch, height, width = shape
    pixels = batch * height * width
    features = pixels * (head_channels or 1) * itemsize
    return Cost(
        bytes_read=features + pixels * frame_itemsize,
        bytes_written=batch * max_targets * RECORD_BYTES,
        operations=2 * pixels * head_channels,
    )
