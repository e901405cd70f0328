# SPDX-License-Identifier: Apache-2.0
"""A convolution with all that stands around it in a deployed network, as one launch."""

from pitviper.kernels.conv_block.op import conv_block
from pitviper.kernels.conv_block.reference import Convolution, Head, Merge

__all__ = ["Convolution", "Head", "Merge", "conv_block"]
