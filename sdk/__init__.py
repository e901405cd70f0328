# SPDX-License-Identifier: Apache-2.0
"""What an application embeds: `Detector`, its results, streams and errors. Needs no torch.

>>> from pitviper import sdk
>>> with sdk.Detector() as detector:  # doctest: +SKIP
...     for target in detector.detect(frame):
...         print(target.x, target.y, target.score)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pitviper.sdk.detections import Detections, Target, Timing
from pitviper.sdk.detector import Detector
from pitviper.sdk.engines import Engine, EngineInfo, EngineStatus, engines
from pitviper.sdk.errors import (
    AccuracyGate,
    DeviceUnavailable,
    EngineError,
    EngineUnavailable,
    InputError,
    IntegrityError,
    MissingExtra,
    ModelError,
    SdkError,
    SinkError,
    SourceError,
    SourceLost,
    SourceTimeout,
    UnsafeWeights,
)
from pitviper.sdk.export import ExportReport
from pitviper.sdk.model import list_models, open_model
from pitviper.sdk.profile import Profile
from pitviper.sdk.stream import Stream
from pitviper.sdk.stream_stats import StreamStats
from pitviper.sdk.tiling import Tiling

if TYPE_CHECKING:
    from pitviper.sdk.async_stream import AsyncStream
    from pitviper.sdk.calibration import Calibration
    from pitviper.sdk.cameras import CameraProfile, camera_profile
    from pitviper.sdk.draw import annotate
    from pitviper.sdk.empty_scenes import calibrate
    from pitviper.sdk.fa_budget import FaBudget
    from pitviper.sdk.log_odds import LogOdds
    from pitviper.sdk.pipeline import Pipeline
    from pitviper.sdk.reconnect import Reconnect, open_reconnecting
    from pitviper.sdk.thermal import ThermalMonitor
    from pitviper.sdk.tracking import MotionModel, Track, Tracker, TrackerStats

# Imported when first asked for: a program that only detects needs none of them.
_LAZY = {
    "AsyncStream": "pitviper.sdk.async_stream",
    "Calibration": "pitviper.sdk.calibration",
    "CameraProfile": "pitviper.sdk.cameras",
    "camera_profile": "pitviper.sdk.cameras",
    "FaBudget": "pitviper.sdk.fa_budget",
    "LogOdds": "pitviper.sdk.log_odds",
    "MotionModel": "pitviper.sdk.tracking",
    "Pipeline": "pitviper.sdk.pipeline",
    "Reconnect": "pitviper.sdk.reconnect",
    "ThermalMonitor": "pitviper.sdk.thermal",
    "Track": "pitviper.sdk.tracking",
    "Tracker": "pitviper.sdk.tracking",
    "TrackerStats": "pitviper.sdk.tracking",
    "annotate": "pitviper.sdk.draw",
    "calibrate": "pitviper.sdk.empty_scenes",
    "open_reconnecting": "pitviper.sdk.reconnect",
}

__all__ = [
    "AccuracyGate",
    "AsyncStream",
    "Calibration",
    "CameraProfile",
    "Detections",
    "Detector",
    "DeviceUnavailable",
    "Engine",
    "EngineError",
    "EngineInfo",
    "EngineStatus",
    "EngineUnavailable",
    "ExportReport",
    "FaBudget",
    "InputError",
    "IntegrityError",
    "LogOdds",
    "MissingExtra",
    "ModelError",
    "MotionModel",
    "Pipeline",
    "Profile",
    "Reconnect",
    "SdkError",
    "SinkError",
    "SourceError",
    "SourceLost",
    "SourceTimeout",
    "Stream",
    "StreamStats",
    "Target",
    "ThermalMonitor",
    "Tiling",
    "Timing",
    "Track",
    "Tracker",
    "TrackerStats",
    "UnsafeWeights",
    "annotate",
    "calibrate",
    "camera_profile",
    "engines",
    "list_models",
    "open_model",
    "open_reconnecting",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
