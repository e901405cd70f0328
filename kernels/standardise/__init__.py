# SPDX-License-Identifier: Apache-2.0
"""Per-frame standardisation, invariant to the sensor's gain and offset."""

from pitviper.kernels.standardise.op import standardise
from pitviper.kernels.standardise.reference import NORMALISATION

__all__ = ["NORMALISATION", "standardise"]
