# SPDX-License-Identifier: Apache-2.0
"""Where frames come from: files, folders, arrays, cameras, network streams and synthetic scenes."""

from pitviper.sdk.sources.frame import Frame, FrameTime, Source, SourceInfo
from pitviper.sdk.sources.opening import open_source

__all__ = ["Frame", "FrameTime", "Source", "SourceInfo", "open_source"]
