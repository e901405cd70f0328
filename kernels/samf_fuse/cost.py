# SPDX-License-Identifier: Apache-2.0
"""What one launch of `samf_fuse` cannot do without."""

from __future__ import annotations

from pitviper.kernels.cost import Cost


def samf_fuse_cost(
    shape: tuple[int, int, int, int],
    prior_size: tuple[int, int],
    *,
    itemsize: int = 2,
) -> Cost:
    """Product and sum of the halves of F with the prior, resized inside, concatenated and added.

    Args:
        shape: [B, C, h, w] of F.
        prior_size: (h', w') of the prior, which has C channels: scale and shift of C / 2 each.
        itemsize: Bytes of one element of every operand.
    """
    batch, channels, height, width = shape
    elements = batch * channels * height * width
    prior = batch * channels * prior_size[0] * prior_size[1]
    resized = prior_size != (height, width)
    return Cost(
        bytes_read=(elements + prior) * itemsize,
        bytes_written=elements * itemsize,
        # A product or a sum, and the residual; three interpolations of a product and two sums where it is resized.
        operations=elements * (2 + (9 if resized else 0)),
    )
