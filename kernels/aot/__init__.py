# SPDX-License-Identifier: Apache-2.0
"""Ahead-of-time compilation of the kernels, and what the compiler says of them, on a machine without a GPU."""

from pitviper.kernels.aot.variant import Variant

__all__ = ["Variant"]
