# SPDX-License-Identifier: Apache-2.0
"""Two 3x3 convolutions as one launch, the map between them kept on the chip."""

from pitviper.kernels.residual_block.op import residual_block

__all__ = ["residual_block"]
