# SPDX-License-Identifier: Apache-2.0
"""How a detector is judged: pixel and target metrics, curves, HSE and their intervals. NumPy and SciPy only."""

from pitviper.core.metrics.accumulator import DetectionMetrics
from pitviper.core.metrics.bootstrap import Interval
from pitviper.core.metrics.characteristics import CLASSES, Characteristics, characterise
from pitviper.core.metrics.counts import ImageCounts
from pitviper.core.metrics.hse import HSE, hse
from pitviper.core.metrics.profiles import PROFILES, Profile
from pitviper.core.metrics.result import MetricsResult
from pitviper.core.metrics.stratified import ClassResult

__all__ = [
    "CLASSES",
    "HSE",
    "PROFILES",
    "Characteristics",
    "ClassResult",
    "DetectionMetrics",
    "ImageCounts",
    "Interval",
    "MetricsResult",
    "Profile",
    "characterise",
    "hse",
]
