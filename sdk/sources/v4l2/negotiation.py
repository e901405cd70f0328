# SPDX-License-Identifier: Apache-2.0
"""What a capture device offers, and setting it to what is wanted, exactly or not at all."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

from pitviper.sdk.errors import InputError, SourceError
from pitviper.sdk.sources.v4l2 import structs
from pitviper.sdk.sources.v4l2.device import Device
from pitviper.sdk.sources.v4l2.structs import fourcc, fourcc_text

__all__ = ["Mode", "Offer", "current_mode", "describe", "identify", "negotiate"]

_MOST: Final = 256
"""Entries of one list that are looked at: a broken driver must not keep us in a loop."""


@dataclass(frozen=True)
class Mode:
    """One picture format: four-character code, (H, W), bytes from row to row, frames per second or None."""

    code: str
    size: tuple[int, int]
    bytes_per_line: int = 0
    fps: float | None = None


@dataclass(frozen=True)
class Offer:
    """A format that the device lists, with its sizes (H, W) and the frame rates of each; none where it says none."""

    code: str
    description: str
    sizes: dict[tuple[int, int], tuple[float, ...]] = field(default_factory=dict)


def identify(device: Device) -> tuple[str, str]:
    """Driver and card of a capture device.

    Raises:
        SourceError: It is no device that can stream pictures.
    """
    capability = structs.Capability()
    device.call("QUERYCAP", capability)
    caps = capability.capabilities
    if caps & structs.CAP_DEVICE_CAPS:
        # A device of several nodes lists here what this one can do.
        caps = capability.device_caps
    if not caps & structs.CAP_VIDEO_CAPTURE or not caps & structs.CAP_STREAMING:
        raise SourceError(
            f"{_text(capability.card)} ({_text(capability.driver)}): this node delivers no pictures; "
            "try the next number, one camera often has several"
        )
    return _text(capability.driver), _text(capability.card)


def describe(device: Device) -> list[Offer]:
    """Formats, sizes and frame rates that the device lists."""
    offers = []
    for entry in _listed(
        device, "ENUM_FMT", lambda i: structs.FormatDescription(index=i, type=structs.CAPTURE)
    ):
        code = fourcc_text(entry.pixelformat)
        sizes = {}
        for size in _listed(
            device,
            "ENUM_FRAMESIZES",
            lambda i, pixel=entry.pixelformat: structs.FrameSize(index=i, pixel_format=pixel),
        ):
            # Of a range its largest size is shown.
            width, height = (
                (size.values[0], size.values[1])
                if size.type == structs.DISCRETE
                else (
                    size.values[1],
                    size.values[4],
                )
            )
            sizes[height, width] = _rates(device, entry.pixelformat, width, height)
            if size.type != structs.DISCRETE:
                break
        offers.append(Offer(code, _text(entry.description), sizes))
    return offers


def _rates(device: Device, pixel: int, width: int, height: int) -> tuple[float, ...]:
    rates = []
    for entry in _listed(
        device,
        "ENUM_FRAMEINTERVALS",
        lambda i: structs.FrameInterval(index=i, pixel_format=pixel, width=width, height=height),
    ):
        if entry.values[0] and entry.values[1]:
            rates.append(round(entry.values[1] / entry.values[0], 3))
        if entry.type != structs.DISCRETE:
            break
    return tuple(rates)


def _listed(device: Device, request: str, make: Any) -> Iterator[Any]:
    """Entries of an enumeration, until the driver says that there are no more."""
    for index in range(_MOST):
        entry = make(index)
        try:
            device.call(request, entry)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOTTY):
                return
            raise
        yield entry


def current_mode(device: Device) -> Mode:
    """The format that the device is set to."""
    wanted = structs.Format(type=structs.CAPTURE)
    device.call("G_FMT", wanted)
    pix = wanted.fmt.pix
    return Mode(fourcc_text(pix.pixelformat), (pix.height, pix.width), pix.bytesperline, _fps(device))


def _fps(device: Device) -> float | None:
    parameters = structs.StreamParameters(type=structs.CAPTURE)
    try:
        device.call("G_PARM", parameters)
    except OSError:
        return None  # Many drivers have no such setting.
    if not parameters.numerator or not parameters.denominator:
        return None
    return float(parameters.denominator / parameters.numerator)


def negotiate(device: Device, code: str, *, size: tuple[int, int] | None, fps: float | None) -> Mode:
    """Set format, size and rate. What the driver changes is refused, not taken over.

    Args:
        device: An opened device.
        code: Four-character code.
        size: (H, W), or None for the present one.
        fps: Frames per second, or None for the present rate.

    Raises:
        InputError: The device does not do that; the message lists what it does.
    """
    wanted = structs.Format(type=structs.CAPTURE)
    device.call("G_FMT", wanted)
    pix = wanted.fmt.pix
    if size is not None:
        pix.height, pix.width = size
    asked = (pix.height, pix.width)
    pix.pixelformat, pix.field, pix.bytesperline, pix.sizeimage = fourcc(code), 1, 0, 0
    try:
        device.call("S_FMT", wanted)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise SourceError("another program is using the camera; close it first") from error
        if error.errno != errno.EINVAL:
            raise
    set_to = wanted.fmt.pix
    if fourcc_text(set_to.pixelformat) != code or (set_to.height, set_to.width) != asked:
        raise InputError(
            f"the camera does not send {code} in {asked[1]}x{asked[0]} (it offered {fourcc_text(set_to.pixelformat)} "
            f"in {set_to.width}x{set_to.height}); it lists {_offered(device)}"
        )
    return Mode(code, asked, set_to.bytesperline, _set_fps(device, fps))


def _set_fps(device: Device, fps: float | None) -> float | None:
    if fps is None:
        return _fps(device)
    rate = Fraction(fps).limit_denominator(1001)
    parameters = structs.StreamParameters(
        type=structs.CAPTURE, numerator=rate.denominator, denominator=rate.numerator
    )
    try:
        device.call("S_PARM", parameters)
    except OSError as error:
        raise InputError(
            f"the camera's frame rate cannot be set ({error.strerror}); leave framerate out"
        ) from error
    found = parameters.denominator / parameters.numerator if parameters.numerator else 0.0
    if abs(found - fps) > 0.01 * fps:
        raise InputError(
            f"the camera does not do {fps:g} frames per second here, but {found:g}; ask for that"
        )
    return float(found)


def _offered(device: Device) -> str:
    shown = []
    for offer in describe(device):
        sizes = ", ".join(f"{width}x{height}" for height, width in offer.sizes)
        shown.append(f"{offer.code} ({sizes})" if sizes else offer.code)
    return "; ".join(shown) or "no format"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").strip("\0 ")
