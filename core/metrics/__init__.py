# SPDX-License-Identifier: Apache-2.0
"""How a detector is judged: pixel and target metrics, curves, HSE and their intervals. NumPy and SciPy only."""

from .accumulator import DetectionMetrics
from .bootstrap import Interval
from .counts import ImageCounts
from .hse import HSE, hse
from .profiles import PROFILES, Profile
from .result import MetricsResult

__all__ = [
    "HSE",
    "PROFILES",
    "DetectionMetrics",
    "ImageCounts",
    "Interval",
    "MetricsResult",
    "Profile",
    "hse",
]
