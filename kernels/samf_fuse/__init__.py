# SPDX-License-Identifier: Apache-2.0
"""The two fused parts of SAMF: what stands before its convolutions, and what stands behind them."""
