# SPDX-License-Identifier: Apache-2.0
"""Where results go: JSON lines, annotated video, masks, COCO and MOT files."""

from pitviper.sdk.sinks.base import Sink
from pitviper.sdk.sinks.masks import Masks
from pitviper.sdk.sinks.opening import open_sinks
from pitviper.sdk.sinks.text import Coco, JsonLines, Mot
from pitviper.sdk.sinks.video import AnnotatedVideo

__all__ = ["AnnotatedVideo", "Coco", "JsonLines", "Masks", "Mot", "Sink", "open_sinks"]
