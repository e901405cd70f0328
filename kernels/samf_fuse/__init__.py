# SPDX-License-Identifier: Apache-2.0
"""The two fused parts of SAMF: what stands before its convolutions, and what stands behind them."""

from pitviper.kernels.samf_fuse.op import samf_join, samf_split

__all__ = ["samf_join", "samf_split"]
