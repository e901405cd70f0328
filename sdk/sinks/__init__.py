# SPDX-License-Identifier: Apache-2.0
"""Where results go: files, a broker, metrics, functions of yours."""

from pitviper.sdk.sinks.background import Background
from pitviper.sdk.sinks.base import Sink
from pitviper.sdk.sinks.callback import Callback
from pitviper.sdk.sinks.counts import OutputStats
from pitviper.sdk.sinks.metrics import Metrics
from pitviper.sdk.sinks.mqtt import Mqtt
from pitviper.sdk.sinks.opening import open_sinks
from pitviper.sdk.sinks.pictures import Masks, Pictures
from pitviper.sdk.sinks.text import Coco, JsonLines, Mot
from pitviper.sdk.sinks.video import AnnotatedVideo

__all__ = [
    "AnnotatedVideo",
    "Background",
    "Callback",
    "Coco",
    "JsonLines",
    "Masks",
    "Metrics",
    "Mot",
    "Mqtt",
    "OutputStats",
    "Pictures",
    "Sink",
    "open_sinks",
]
