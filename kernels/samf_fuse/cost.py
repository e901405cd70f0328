# SPDX-License-Identifier: Apache-2.0
"""What the launches of `samf_split` and `samf_join` cannot do without."""

from __future__ import annotations

from typing import Final

from pitviper.kernels.cost import Cost

INTERPOLATION: Final = 9
"""Operations of a bilinear value: three interpolations, each two products and a sum. Positions are not counted."""


def samf_fuse_cost(
    shape: tuple[int, int, int, int], prior_size: tuple[int, int], *, itemsize: int = 2
) -> Cost:
    """Both launches: SAMF without its convolutions. Arguments as in `samf_split_cost`."""
    return samf_split_cost(shape, prior_size, itemsize=itemsize) + samf_join_cost(shape, itemsize=itemsize)


def samf_split_cost(
    shape: tuple[int, int, int, int], prior_size: tuple[int, int], *, itemsize: int = 2
) -> Cost:
    """Product and sum of the halves of F with the prior, resized inside. The gradient of F moves as many bytes.

    Args:
        shape: [B, C, h, w] of F.
        prior_size: (h', w') of the prior, which has C channels: scale and shift of C / 2 each.
        itemsize: Bytes of one element of every operand.
    """
    elements, prior = _elements(shape, prior_size)
    resized = prior_size != shape[2:]
    return Cost(
        bytes_read=(elements + prior) * itemsize,
        bytes_written=elements * itemsize,
        operations=elements * (1 + (INTERPOLATION if resized else 0)),
    )


def samf_prior_gradient_cost(
    shape: tuple[int, int, int, int], prior_size: tuple[int, int], *, itemsize: int = 2
) -> Cost:
    """The gradients of scale and shift: those of both halves and the first half of F are read, the prior's written.

    Arguments as in `samf_split_cost`.
    """
    elements, prior = _elements(shape, prior_size)
    return Cost(
        bytes_read=(elements + elements // 2) * itemsize,
        bytes_written=prior * itemsize,
        # In each direction an element goes to two neighbours, a product and a sum each; the product with F before.
        operations=elements * 8 + elements // 2,
    )


def samf_join_cost(shape: tuple[int, int, int, int], *, itemsize: int = 2) -> Cost:
    """Concatenation and residual. Its gradients are views: they move nothing.

    Args:
        shape: [B, C, h, w] of F.
        itemsize: Bytes of one element of every operand.
    """
    elements, _ = _elements(shape, (0, 0))
    return Cost(bytes_read=2 * elements * itemsize, bytes_written=elements * itemsize, operations=elements)


def _elements(shape: tuple[int, int, int, int], prior_size: tuple[int, int]) -> tuple[int, int]:
    batch, channels, height, width = shape
    return batch * channels * height * width, batch * channels * prior_size[0] * prior_size[1]
