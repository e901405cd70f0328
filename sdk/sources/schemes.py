# SPDX-License-Identifier: Apache-2.0
"""The one table of what can be opened by name, and which entry a text means."""

from __future__ import annotations

import difflib
import importlib.util
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Final

from pitviper.sdk.errors import InputError, SourceError

if TYPE_CHECKING:
    from pitviper.sdk.cameras import CameraProfile
    from pitviper.sdk.sources.frame import Source

__all__ = ["SCHEMES", "OpenOptions", "Scheme", "find_scheme"]


@dataclass(frozen=True)
class OpenOptions:
    """How a source is to be opened; see `open_source` for what each means."""

    timeout_s: float = 5.0
    on_error: str = "raise"
    options: Mapping[str, str] = field(default_factory=dict)
    camera: CameraProfile | None = None


@dataclass(frozen=True)
class Scheme:
    """One kind of source.

    Attributes:
        names: Names before ``://``; the first one is the kind's own.
        example: A text that opens one.
        summary: What it delivers.
        opener: ``module:function`` below `pitviper.sdk`, imported when first used; called with text and `OpenOptions`.
        live: Whether its frames come at a camera's pace.
        options: What ``options=`` (``--source-option``) may hold, in words; empty when nothing.
        missing: Tells why it cannot be used here, or returns an empty text.
    """

    names: tuple[str, ...]
    example: str
    summary: str
    opener: str
    live: bool
    options: str = ""
    missing: Callable[[], str] = lambda: ""

    def open(self, text: str, how: OpenOptions) -> Source:
        """Open the source that a text names.

        Raises:
            InputError: Options for a source that takes none.
            SourceError: It cannot be opened.
        """
        if how.options and not self.options:
            names = ", ".join(how.options)
            raise InputError(
                f"options ({names}) are not for {self.names[0]} sources; leave them out. Those that take options: "
                + ", ".join(each.names[0] for each in SCHEMES if each.options)
            )
        module, _, name = self.opener.partition(":")
        opened: Source = getattr(import_module(f"pitviper.sdk.{module}"), name)(text, how)
        return opened


def _no_gstreamer() -> str:
    found = importlib.util.find_spec("gi") is not None
    return "" if found else "PyGObject (the module gi) is not importable in this Python"


def _no_shared_memory() -> str:
    return "" if os.path.isdir("/dev/shm") else "there is no /dev/shm"


_PICTURES = "colour (refuse or luma): whether the luma of colour pictures is taken"
_NETWORK = "FFmpeg's options of the protocol, such as rtsp_transport=udp"

SCHEMES: Final[tuple[Scheme, ...]] = (
    Scheme(
        ("file",),
        "video.mkv, frame.png, folder/, 'frames/*.png', file:///data/video.mkv",
        "a video, an image, a folder or a pattern in natural order",
        "sources.files:open_path",
        live=False,
        options=_PICTURES,
    ),
    Scheme(
        ("watch",),
        "watch:incoming/",
        "images that other programs put into a folder, each when it is complete",
        "sources.watch:open_watch",
        live=True,
        options=_PICTURES,
    ),
    Scheme(
        ("v4l2",),
        "/dev/video0, 0, v4l2:///dev/video0",
        "a camera of Video4Linux: raw counts through our own reader, other formats through FFmpeg",
        "sources.v4l2:open_v4l2",
        live=True,
        options="input_format, video_size, framerate, reader (auto, ioctl, ffmpeg), and FFmpeg's with reader=ffmpeg",
    ),
    Scheme(
        ("rtsp", "rtsps"),
        "rtsp://user:password@camera/stream",
        "a network camera, over TCP unless told otherwise",
        "sources.network:open_network",
        live=True,
        options=_NETWORK,
    ),
    Scheme(
        ("rtp", "udp"),
        "rtp://0.0.0.0:5004, udp://239.0.0.1:1234, stream.sdp",
        "packets sent to this machine; RTP of a dynamic payload type needs its SDP file",
        "sources.network:open_network",
        live=True,
        options=_NETWORK,
    ),
    Scheme(
        ("http", "https"),
        "http://camera/video.mjpg",
        "MJPEG or a video over HTTP",
        "sources.network:open_network",
        live=True,
        options=_NETWORK,
    ),
    Scheme(
        ("gst",),
        "gst://nvarguscamerasrc ! nvvidconv ! video/x-raw,format=GRAY8",
        "a GStreamer pipeline, through the system's PyGObject",
        "sources.gstreamer:open_gstreamer",
        live=True,
        missing=_no_gstreamer,
    ),
    Scheme(
        ("shm",),
        "shm://camera",
        "a ring of frames in shared memory, filled by a camera process (RingWriter)",
        "sources.shm:open_shm",
        live=True,
        missing=_no_shared_memory,
    ),
    Scheme(
        ("replay",),
        "replay://recording, replay://recording?speed=1",
        "a recording of this SDK, with its original times",
        "record.source:open_replay",
        live=False,
    ),
    Scheme(
        ("synthetic",),
        "synthetic://sea?frames=100&seed=3",
        "a synthetic scene, the same frames each time",
        "sources.synthetic:open_synthetic",
        live=False,
    ),
)
"""Every kind of source that a text can name."""

_BY_NAME: Final = {name: scheme for scheme in SCHEMES for name in scheme.names}


def find_scheme(text: str) -> Scheme:
    """The entry of the table that a path or URI means.

    Raises:
        SourceError: A scheme that is not in the table; the message names those that are.
    """
    name = text.partition("://")[0].lower() if "://" in text else ""
    if text.lower().startswith("watch:"):
        name = "watch"
    if not name:
        # A file called 3 is a file; else a number is a camera, as everywhere.
        camera = re.fullmatch(r"/dev/video\d+", text) or (text.isdecimal() and not os.path.exists(text))
        name = "v4l2" if camera else "rtp" if text.lower().endswith(".sdp") else "file"
    if name in _BY_NAME:
        return _BY_NAME[name]
    from pitviper.sdk.sources.live import redact

    near = difflib.get_close_matches(name, _BY_NAME, n=1)
    hint = f"did you mean {near[0]}://? " if near else ""
    raise SourceError(
        f"{redact(text)}: {name}:// is not supported; {hint}There are {', '.join(f'{each}://' for each in _BY_NAME)}, "
        "and paths (pitviper sources lists them)"
    )
