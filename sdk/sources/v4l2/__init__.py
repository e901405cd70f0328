# SPDX-License-Identifier: Apache-2.0
"""Cameras of Video4Linux: which reader takes which format, and opening one.

Raw formats (`PIXELS`) are read by `V4L2Source`: FFmpeg does not know Y10, Y12 and Y14, blocks in a camera that has
stopped, and hides the numbers of the frames. What a camera compresses, or sends in planes, is read by FFmpeg (PyAV).
"""

from __future__ import annotations

import logging
import re
from typing import Final

from pitviper.sdk.errors import InputError, SourceError
from pitviper.sdk.sources.frame import Source
from pitviper.sdk.sources.schemes import OpenOptions
from pitviper.sdk.sources.v4l2.device import Device, KernelDevice, check_device, list_devices
from pitviper.sdk.sources.v4l2.negotiation import Mode, Offer, current_mode, describe, identify, negotiate
from pitviper.sdk.sources.v4l2.pixels import PIXELS
from pitviper.sdk.sources.v4l2.reader import V4L2Source

__all__ = ["Mode", "Offer", "V4L2Source", "describe", "identify", "list_devices", "open_device", "open_v4l2"]

_LOG = logging.getLogger("pitviper.sources")
_READERS: Final = ("auto", "ioctl", "ffmpeg")
_OWN_OPTIONS: Final = frozenset({"reader", "input_format", "video_size", "framerate"})
_NAMES: Final = {
    "gray16le": "Y16",
    "gray16be": "Y16-BE",
    "gray14le": "Y14",
    "gray12le": "Y12",
    "gray10le": "Y10",
    "gray": "GREY",
    "gray8": "GREY",
    "yuyv422": "YUYV",
    "uyvy422": "UYVY",
}
"""FFmpeg's names of the raw formats, which the profiles use."""


def open_v4l2(text: str, how: OpenOptions) -> Source:
    """A camera by /dev/videoN, N or v4l2://.

    Options: ``input_format`` (FFmpeg's name or a four-character code; None takes the profile's, or what the camera is
    set to), ``video_size`` (640x512), ``framerate``, and ``reader``: ``auto``, ``ioctl`` (our own) or ``ffmpeg``,
    which takes further options.

    Raises:
        SourceError: There is no such camera, no permission, or it is in use.
        InputError: The camera does not do what the options ask for.
    """
    path = text.partition("://")[2] if "://" in text else text
    path = f"/dev/video{path}" if path.isdecimal() else path
    check_device(path)
    try:
        device = KernelDevice(path)
    except OSError as error:
        raise SourceError(
            f"{path}: cannot be opened ({error.strerror}); is another program using it?"
        ) from error
    source = open_device(device, path, how)
    if source is not None:
        return source
    from pitviper.sdk.sources.live import open_camera

    profile = how.camera
    options = {key: value for key, value in how.options.items() if key != "reader"}
    if profile is not None:
        options = {"input_format": profile.pixel_format, **options}
    words = profile is not None and profile.pixel_format != "gray16le"
    return open_camera(path, timeout_s=how.timeout_s, options=options, words=words)


def open_device(device: Device, name: str, how: OpenOptions) -> V4L2Source | None:
    """The source of an opened device, which is closed on failure; None (and closed) when FFmpeg is to read it.

    Raises:
        SourceError, InputError: As `open_v4l2`.
    """
    options = dict(how.options)
    reader = options.pop("reader", "auto")
    try:
        if reader not in _READERS:
            raise InputError(f"reader must be one of {', '.join(_READERS)}, got {reader!r}")
        if reader == "ffmpeg":
            device.close()
            return None
        identify(device)
        code = _code(device, options.get("input_format"), how)
        if code not in PIXELS:
            if reader == "ioctl":
                raise InputError(
                    f"our own reader takes {', '.join(PIXELS)}, not {code}; leave reader=ioctl out"
                )
            _LOG.info("%s: %s is read by FFmpeg", name, code)
            _hint_raw(device, name)
            device.close()
            return None
        unknown = sorted(set(options) - _OWN_OPTIONS)
        if unknown:
            raise InputError(
                f"option {unknown[0]!r} is not known for {code}; there are {', '.join(sorted(_OWN_OPTIONS))}. "
                "FFmpeg's own options need reader=ffmpeg"
            )
        size = _size(options.get("video_size")) or _profile_size(device, code, how)
        mode = negotiate(device, code, size=size, fps=_rate(options.get("framerate")))
        words = how.camera is not None and how.camera.pixel_format != "gray16le"
        source = V4L2Source(device, name, mode, timeout_s=how.timeout_s, words=words, on_error=how.on_error)
    except (InputError, SourceError) as error:
        device.close()
        raise type(error)(f"{name}: {error}") from error
    except OSError as error:
        device.close()
        raise SourceError(f"{name}: cannot be set up ({error.strerror}); is it a camera?") from error
    except BaseException:
        device.close()
        raise
    _LOG.info("opened %s: %s %dx%d, our own reader", name, code, mode.size[1], mode.size[0])
    return source


def _code(device: Device, given: str | None, how: OpenOptions) -> str:
    if given is None and how.camera is not None:
        given = how.camera.pixel_format
    if given is None:
        return current_mode(device).code
    return _NAMES.get(given.lower(), given.strip())


def _hint_raw(device: Device, name: str) -> None:
    raw = [offer.code for offer in describe(device) if offer.code.startswith("Y1")]
    if raw:
        _LOG.warning("%s: the camera also sends raw counts; ask for them with input_format=%s", name, raw[0])


def _profile_size(device: Device, code: str, how: OpenOptions) -> tuple[int, int] | None:
    """The first raw size of the profile that the camera lists, so that it need not be typed."""
    if how.camera is None or not how.camera.layouts:
        return None
    sizes = {size for offer in describe(device) if offer.code == code for size in offer.sizes}
    return next((each.raw for each in how.camera.layouts if each.raw in sizes), None)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text)
    if found is None:
        raise InputError(f"video_size must be WIDTHxHEIGHT such as 640x512, got {text!r}")
    return int(found[2]), int(found[1])


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 100_000:
        raise InputError(f"framerate must be frames per second above 0, got {text!r}")
    return rate
