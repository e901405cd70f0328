# SPDX-License-Identifier: Apache-2.0
"""What one launch of `affine_modulate` cannot do without."""

from __future__ import annotations

from pitviper.kernels.cost import Cost


def affine_modulate_cost(
    shape: tuple[int, int, int, int],
    *,
    per_pixel: bool = False,
    residual: bool = False,
    itemsize: int = 2,
) -> Cost:
    """``(1 + s (gamma - 1)) f + s beta``, with an optional residual and ReLU.

    Args:
        shape: [B, C, H, W] of f.
        per_pixel: Whether gamma and beta hold a value for each element of f, instead of one for each channel.
        residual: Whether a map of the shape of f is read and added.
        itemsize: Bytes of one element of every operand.
    """
    batch, channels, height, width = shape
    elements = batch * channels * height * width
    parameters = 2 * (elements if per_pixel else batch * channels)
    return Cost(
        bytes_read=(elements * (2 if residual else 1) + parameters) * itemsize,
        bytes_written=elements * itemsize,
        operations=elements * (3 if residual else 2) + 3 * parameters // 2,
    )


def affine_modulate_gradient_cost(
    shape: tuple[int, int, int, int],
    *,
    per_pixel: bool = False,
    residual: bool = False,
    itemsize: int = 2,
) -> Cost:
    """The gradients of f, gamma and beta, and with ``residual`` that of the residual behind a ReLU.

    Read are the result's gradient, f and the parameters, since the sign of the result is computed again; no result is
    kept for it.

    Args:
        shape: [B, C, H, W] of f.
        per_pixel: As in `affine_modulate_cost`.
        residual: Whether there is a residual, followed by a ReLU.
        itemsize: Bytes of one element of every operand.
    """
    batch, channels, height, width = shape
    elements = batch * channels * height * width
    parameters = 2 * (elements if per_pixel else batch * channels)
    return Cost(
        bytes_read=(elements * (3 if residual else 2) + parameters) * itemsize,
        bytes_written=(elements * (2 if residual else 1) + parameters) * itemsize,
        # The gradients of f, gamma and beta; the result again where its sign is needed.
        operations=elements * (4 + (3 if residual else 0)) + 4 * parameters,
    )
