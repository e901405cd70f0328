# SPDX-License-Identifier: Apache-2.0
"""`open_source`: from what a caller has to frames."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import numpy as np

from pitviper.core.images import IMAGE_SUFFIXES
from pitviper.core.synthetic import Scene, SceneConfig
from pitviper.sdk.errors import InputError, SourceError
from pitviper.sdk.sources.arrays import from_array, from_callable, from_iterable
from pitviper.sdk.sources.files import ImageFiles, find_images
from pitviper.sdk.sources.frame import Source
from pitviper.sdk.sources.live import open_camera, open_rtsp, redact
from pitviper.sdk.sources.synthetic import SyntheticSource, parse_scene
from pitviper.sdk.sources.video import VideoFile

if TYPE_CHECKING:
    from pitviper.sdk.cameras import CameraProfile

__all__ = ["open_source"]

_LOG = logging.getLogger("pitviper.sources")
_ACCEPTED = (
    "a path or pattern, synthetic://, rtsp://, /dev/videoN or its number, an array [N, H, W], "
    "a list or generator of arrays, a function, or a Scene"
)


def open_source(
    spec: Any,
    *,
    timeout_s: float = 5.0,
    on_error: str = "raise",
    live: bool | None = None,
    options: Mapping[str, str] | None = None,
    camera: str | CameraProfile | None = None,
) -> Source:
    """Open what holds frames.

    Args:
        spec: Path of a video, an image or a folder of images (natural order); a pattern with wildcards;
            `synthetic://...` (see `parse_scene`); `/dev/videoN` or the integer N (V4L2); `rtsp://...`; an array
            [N, H, W] or [H, W]; a list, tuple or generator of arrays; a list of paths; a function that returns an
            array, or None at the end; a `Scene` or `SceneConfig`; an opened `Source`, returned as it is.
        timeout_s: Longest wait for a network stream to connect or to deliver, in seconds.
        on_error: What to do with a frame that cannot be read: `"raise"`, or `"skip"`, which counts it in
            `Source.skipped`, logs it and flags the next frame `after_gap`.
        live: Whether frames of an iterable or a function come at a camera's pace; None: only a function's do.
        options: FFmpeg's options for cameras and RTSP, refused for other sources.
        camera: How raw 16-bit frames are read: a name (`pitviper.sdk.cameras.CAMERAS`), the path of a JSON profile,
            or a `CameraProfile`. Frames are then unpacked, cropped and byte-swapped as it says, and its telemetry
            becomes flags. None: frames are taken as they come.

    Raises:
        SourceError: It is missing, unreadable or holds no frames. SourceTimeout: it did not answer in time.
        InputError: Something that is no source, or an argument out of range; an unknown camera.
    """
    if camera is not None:
        from pitviper.sdk.cameras import camera_profile
        from pitviper.sdk.sources.camera import CameraSource

        profile = camera_profile(camera)
        if _device(spec):
            options = {"input_format": profile.pixel_format, **(options or {})}
        raw = _open(spec, timeout_s, on_error, live, options, words=profile.pixel_format != "gray16le")
        return CameraSource(raw, profile, on_error=on_error)
    return _open(spec, timeout_s, on_error, live, options)


def _device(spec: Any) -> bool:
    """Whether a V4L2 camera is meant."""
    if isinstance(spec, (int, np.integer)) and not isinstance(spec, (bool, np.bool_)):
        return True
    text = os.fspath(spec) if isinstance(spec, (str, os.PathLike)) else ""
    return bool(isinstance(text, str) and re.fullmatch(r"(v4l2://)?(/dev/video)?\d+", text)) and not (
        text.isdecimal() and os.path.exists(text)
    )


def _open(
    spec: Any,
    timeout_s: float,
    on_error: str,
    live: bool | None,
    options: Mapping[str, str] | None,
    words: bool = False,
) -> Source:
    if on_error not in ("raise", "skip"):
        raise InputError(f'on_error must be "raise" or "skip", got {on_error!r}')
    if not timeout_s > 0:
        raise InputError(f"timeout_s must be above 0 seconds, got {timeout_s}")
    if isinstance(spec, (bool, np.bool_)) or spec is None:
        raise InputError(f"{spec!r} is no source; pass {_ACCEPTED}")
    if isinstance(spec, (int, np.integer)):
        spec = f"/dev/video{int(spec)}"
    if isinstance(spec, (str, os.PathLike)):
        text = os.fspath(spec)
        return _open_text(text, timeout_s=timeout_s, on_error=on_error, options=options, words=words)
    _refuse_options(options)
    return _open_object(spec, on_error=on_error, live=live)


def _refuse_options(options: Mapping[str, str] | None) -> None:
    if options:
        names = ", ".join(options)
        raise InputError(
            f"options ({names}) are for cameras and rtsp:// only; leave them out for this source"
        )


def _open_object(spec: Any, *, on_error: str, live: bool | None) -> Source:
    if isinstance(spec, Source):
        return spec
    if isinstance(spec, SceneConfig):
        return SyntheticSource(Scene(spec))
    if isinstance(spec, Scene):
        return SyntheticSource(spec)
    if isinstance(spec, np.ndarray):
        return from_array(spec, live=bool(live), on_error=on_error)
    if isinstance(spec, (list, tuple)) and spec and isinstance(spec[0], (str, os.PathLike)):
        return ImageFiles([Path(item) for item in spec], name=f"{len(spec)} files", on_error=on_error)
    if callable(spec):
        return from_callable(spec, live=live is not False, on_error=on_error)
    if isinstance(spec, Iterable) and not isinstance(spec, (bytes, bytearray, Mapping)):
        return from_iterable(spec, live=bool(live), on_error=on_error)
    raise InputError(f"a {type(spec).__name__} is no source; pass {_ACCEPTED}")


def _open_text(
    text: str, *, timeout_s: float, on_error: str, options: Mapping[str, str] | None, words: bool
) -> Source:
    if not text:
        raise InputError(f"an empty path is no source; pass {_ACCEPTED}")
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme == "synthetic":
        _refuse_options(options)
        return SyntheticSource(Scene(parse_scene(text)))
    if scheme in ("rtsp", "rtsps"):
        return open_rtsp(text, timeout_s=timeout_s, options=options)
    if scheme == "file":
        text = unquote(urlsplit(text).path)
    elif scheme == "v4l2":
        text = text.partition("://")[2]
    elif scheme:
        raise SourceError(
            f"{redact(text)}: {scheme}:// is not supported; use a path, file://, rtsp://, v4l2:// or synthetic://"
        )
    if text.isdecimal() and not os.path.exists(text):
        text = f"/dev/video{text}"
    if re.fullmatch(r"/dev/video\d+", text):
        return open_camera(text, timeout_s=timeout_s, options=options, words=words)
    _refuse_options(options)
    return _open_path(text, on_error=on_error)


def _open_path(text: str, *, on_error: str) -> Source:
    path = Path(text)
    if path.is_dir() or (not path.exists() and any(sign in text for sign in "*?[")):
        return ImageFiles(find_images(text), name=text, on_error=on_error)
    if not path.exists():
        near = next((parent for parent in path.parents if parent.exists()), Path("."))
        raise SourceError(f"{text}: no such file or folder (what exists of it: {near}); check the path")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFiles([path], name=text, on_error=on_error)
    return VideoFile(path, on_error=on_error)
