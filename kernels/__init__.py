# SPDX-License-Identifier: Apache-2.0
"""Fast operations on frames and maps, and their definitions. Needs NumPy and SciPy only.

Each folder is one operation: ``reference.py`` defines it, the other implementations may only be faster.
"""

from pitviper.kernels.extract_targets import Targets, extract_targets
from pitviper.kernels.native import NativeUnavailable
from pitviper.kernels.registry import Backend, available_backends
from pitviper.kernels.standardise import NORMALISATION, standardise

__all__ = [
    "NORMALISATION",
    "Backend",
    "NativeUnavailable",
    "Targets",
    "available_backends",
    "extract_targets",
    "standardise",
]
