# SPDX-License-Identifier: Apache-2.0
"""`open_source`: from what a caller has to frames."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pitviper.sdk.arguments import require_number
from pitviper.sdk.errors import InputError
from pitviper.sdk.sources.arrays import from_array, from_callable, from_iterable
from pitviper.sdk.sources.files import ImageFiles
from pitviper.sdk.sources.frame import Source
from pitviper.sdk.sources.schemes import SCHEMES, OpenOptions, find_scheme

if TYPE_CHECKING:
    from pitviper.sdk.cameras import CameraProfile

__all__ = ["open_source"]

_ACCEPTED = (
    "a path or pattern, a URI ("
    + ", ".join(f"{each.names[0]}://" for each in SCHEMES)
    + "), /dev/videoN or its number, an array [N, H, W], a list or generator of arrays, a function, or a Scene"
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
        spec: A text that one entry of `SCHEMES` opens: the path of a video, an image or a folder of images (natural
            order), a pattern with wildcards, or a URI such as `rtsp://...`; the integer N for `/dev/videoN`; an array
            [N, H, W] or [H, W]; a list, tuple or generator of arrays; a list of paths; a function that returns an
            array, or None at the end; a `Scene` or `SceneConfig`; an opened `Source`, returned as it is.
        timeout_s: Longest wait for a live source to open or to deliver, in seconds.
        on_error: What to do with a frame that cannot be read: `"raise"`, or `"skip"`, which counts it in
            `Source.skipped`, logs it and flags the next frame `after_gap`.
        live: Whether frames of an iterable or a function come at a camera's pace; None: only a function's do.
        options: For cameras, network streams and image files; refused for other sources.
        camera: How raw 16-bit frames are read: a name (`pitviper.sdk.cameras.CAMERAS`), the path of a JSON profile,
            or a `CameraProfile`. Frames are then unpacked, cropped and byte-swapped as it says, and its telemetry
            becomes flags. None: frames are taken as they come.

    Raises:
        SourceError: It is missing, unreadable or holds no frames. SourceTimeout: it did not answer in time.
        InputError: Something that is no source, or an argument out of range; an unknown camera.
        MissingExtra: It needs a package that is not installed.
    """
    if on_error not in ("raise", "skip"):
        raise InputError(f'on_error must be "raise" or "skip", got {on_error!r}')
    require_number("timeout_s", timeout_s, above=0, unit="seconds", endless=True)
    profile = None
    if camera is not None:
        from pitviper.sdk.cameras import camera_profile

        profile = camera_profile(camera)
    raw = _open(spec, OpenOptions(timeout_s, on_error, dict(options or {}), profile), live)
    if profile is None:
        return raw
    from pitviper.sdk.sources.camera import CameraSource

    return CameraSource(raw, profile, on_error=on_error)


def _open(spec: Any, how: OpenOptions, live: bool | None) -> Source:
    if isinstance(spec, (bool, np.bool_)) or spec is None:
        raise InputError(f"{spec!r} is no source; pass {_ACCEPTED}")
    if isinstance(spec, (int, np.integer)):
        spec = f"/dev/video{int(spec)}"
    if isinstance(spec, (str, os.PathLike)):
        text = os.fspath(spec)
        if not isinstance(text, str) or not text:
            raise InputError(f"{text!r} is an empty path and no source; pass {_ACCEPTED}")
        return find_scheme(text).open(text, how)
    if isinstance(spec, (list, tuple)) and spec and isinstance(spec[0], (str, os.PathLike)):
        paths = [Path(item) for item in spec]
        return ImageFiles(paths, name=f"{len(spec)} files", on_error=how.on_error, options=how.options)
    if how.options:
        names = ", ".join(how.options)
        raise InputError(
            f"options ({names}) are for files, cameras and streams that are opened by name; leave them out here"
        )
    return _open_object(spec, on_error=how.on_error, live=live)


def _open_object(spec: Any, *, on_error: str, live: bool | None) -> Source:
    if isinstance(spec, Source):
        return spec
    if "pitviper.core.synthetic" in sys.modules:  # it needs SciPy, and whoever has a scene has imported it
        from pitviper.core.synthetic import Scene, SceneConfig
        from pitviper.sdk.sources.synthetic import SyntheticSource

        if isinstance(spec, (Scene, SceneConfig)):
            return SyntheticSource(spec if isinstance(spec, Scene) else Scene(spec))
    if isinstance(spec, np.ndarray):
        return from_array(spec, live=bool(live), on_error=on_error)
    if callable(spec):
        return from_callable(spec, live=live is not False, on_error=on_error)
    if isinstance(spec, Iterable) and not isinstance(spec, (bytes, bytearray, Mapping)):
        return from_iterable(spec, live=bool(live), on_error=on_error)
    raise InputError(f"a {type(spec).__name__} is no source; pass {_ACCEPTED}")
