# SPDX-License-Identifier: Apache-2.0
"""Where frames come from: files, folders, arrays, cameras, network streams, shared memory and synthetic scenes."""

from pitviper.sdk.sources.frame import Frame, FrameTime, Source, SourceInfo
from pitviper.sdk.sources.opening import open_source
from pitviper.sdk.sources.ring import RingWriter
from pitviper.sdk.sources.schemes import SCHEMES, Scheme

__all__ = [
    "SCHEMES",
    "Frame",
    "FrameTime",
    "RingWriter",
    "Scheme",
    "Source",
    "SourceInfo",
    "open_source",
]
