# SPDX-License-Identifier: Apache-2.0
"""What an application embeds: `Detector`, its results, streams and errors. Needs no torch.

>>> from pitviper import sdk
>>> with sdk.Detector() as detector:  # doctest: +SKIP
...     for target in detector.detect(frame):
...         print(target.x, target.y, target.score)
"""

from pitviper.sdk.detections import Detections, Target, Timing
from pitviper.sdk.detector import Detector
from pitviper.sdk.engines import Engine, EngineInfo, EngineStatus, engines
from pitviper.sdk.errors import (
    AccuracyGate,
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

__all__ = [
    "AccuracyGate",
    "Detections",
    "Detector",
    "Engine",
    "EngineError",
    "EngineInfo",
    "EngineStatus",
    "EngineUnavailable",
    "ExportReport",
    "InputError",
    "IntegrityError",
    "MissingExtra",
    "ModelError",
    "Profile",
    "SdkError",
    "SinkError",
    "SourceError",
    "SourceLost",
    "SourceTimeout",
    "Stream",
    "StreamStats",
    "Target",
    "Tiling",
    "Timing",
    "UnsafeWeights",
    "engines",
    "list_models",
    "open_model",
]
