# SPDX-License-Identifier: Apache-2.0
"""The definition of `residual_block`, in NumPy. Every other implementation is tested against this file."""

from __future__ import annotations

from pitviper.kernels.conv_block.reference import Array, Convolution, conv_block_reference


def residual_block_reference(
    x: Array, first: Convolution, second: Convolution, *, shortcut: bool = True
) -> Array:
    """``relu(x + second(relu(first(x))))``, without ``x`` where there is no shortcut.

    The map between is rounded to the type of ``x``, and is zero outside the picture, as PyTorch pads it.

    Args:
        x: [N, H, W, C]; without shortcut also a frame, as `conv_block_reference` reads it.
        first: 3x3, stride 1.
        second: 3x3, stride 1, C to C. ReLU follows both, whatever their ``relu`` says.
    """
    between = conv_block_reference(x, Convolution(first.weight, first.bias, relu=True))
    last = Convolution(second.weight, second.bias, relu=True)
    return conv_block_reference(between, last, residual=x if shortcut else None)
