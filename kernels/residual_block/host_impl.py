# SPDX-License-Identifier: Apache-2.0
"""`residual_block` in C++: the GPU's kernel compiled for the host, ``csrc/residual_block_host.cpp``."""

from __future__ import annotations

import numpy as np

from pitviper.kernels import native
from pitviper.kernels.conv_block.host_impl import input_arguments, pack_weights
from pitviper.kernels.conv_block.reference import Array, Convolution


def residual_block_host(
    x: Array, first: Convolution, second: Convolution, *, out: Array, shortcut: bool
) -> None:
    """Write the result to ``out``. The arguments are checked, maps 16-byte aligned."""
    packed = [pack_weights(convolution.weight, x.dtype) for convolution in (first, second)]
    biases = [np.ascontiguousarray(convolution.bias) for convolution in (first, second)]
    native.load().residual_block(
        input_arguments(x, first.weight.shape[1])
        | {
            "channels": len(second.weight),
            "shortcut": shortcut,
            "weight1": packed[0].ctypes.data,
            "bias1": biases[0].ctypes.data,
            "weight2": packed[1].ctypes.data,
            "bias2": biases[1].ctypes.data,
            "output": out.ctypes.data,
        }
    )
