# SPDX-License-Identifier: Apache-2.0
"""Tracks of targets that cover a few pixels, by their centroids. NumPy and SciPy only."""

from pitviper.sdk.tracking.adapters import SupervisionTracker
from pitviper.sdk.tracking.confirmation import false_track_probability
from pitviper.sdk.tracking.kalman import MotionModel
from pitviper.sdk.tracking.track import Track, TrackerStats
from pitviper.sdk.tracking.tracker import Tracker

__all__ = [
    "MotionModel",
    "SupervisionTracker",
    "Track",
    "Tracker",
    "TrackerStats",
    "false_track_probability",
]
