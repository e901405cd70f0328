# SPDX-License-Identifier: Apache-2.0
"""Profiles of cameras by name. Each fact names its source; what could not be verified says so.

None of these was tried on a camera of that make here. `CameraProfile.facts` and `CameraProfile.unverified` carry
the same sentences to whoever opens the camera.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pitviper.sdk.cameras.profile import CameraProfile, RawLayout
from pitviper.sdk.errors import InputError

__all__ = ["CAMERAS", "camera_profile"]


def _whole(height: int, width: int) -> RawLayout:
    return RawLayout((height, width), (0, height), (0, width))


_BOSON = CameraProfile(
    "boson",
    valid_bits=16,
    layouts=(
        _whole(512, 640),
        _whole(256, 320),
        RawLayout((514, 640), (2, 514), (0, 640), (0, 2)),
    ),
    telemetry="boson",
    fps=60.0,
    facts=(
        "320x256 and 640x512 arrays: FLIR, Boson datasheet 102-2013-40 rev. 330",
        "USB modes 640x512 and 640x514 at 60 and 30 frames per second: USB descriptor in FLIR/UVC-Boson issue 3",
        "offsets in the telemetry row: open reader Boson640Telemetry.java (Elphel)",
    ),
    unverified=(
        "the two extra rows lie on top; cameras can be set to send them at the bottom",
        "16 bits are used (pre-AGC output); some firmware sends 14",
        "a 320x256 camera with telemetry: its raw size is not known, pass a profile of your own",
        "radiometric models (Boson+) in TLinear mode: 0.01 K per count in high gain, 0.02 in low",
    ),
)

_LEPTON = CameraProfile(
    "lepton",
    valid_bits=16,
    layouts=(
        _whole(120, 160),
        RawLayout((122, 160), (0, 120), (0, 160), (120, 122)),
        _whole(60, 80),
        RawLayout((63, 80), (0, 60), (0, 80), (60, 63)),
    ),
    telemetry="lepton",
    kelvin_per_count=0.01,
    fps=9.0,
    facts=(
        "telemetry as footer by default, status bits, 160x122 with telemetry: FLIR, Lepton Engineering Datasheet "
        "500-0659-00-09 rev. 203, tables 3 and 6, section 4.2",
        "with TLinear, the power-on default of the radiometric models 2.5 and 3.5, all 16 bits and 0.01 K per count; "
        "else 14 bits without a unit: the same, sections 3.5 and 4.2.2.1",
        "Y16 modes 160x120, 160x122, 80x60, 80x63 at 9 frames per second: PureThermal USB descriptors in "
        "groupgets/GetThermal issue 67 and groupgets/purethermal1-uvc-capture issue 27",
    ),
    unverified=(
        "models without radiometry (3.0, 2.0) are not in kelvin: take kelvin_per_count off",
        "with telemetry as header the rows lie on top, which this profile does not read",
    ),
)

_TAU = CameraProfile(
    "tau",
    valid_bits=14,
    layouts=(_whole(512, 640), _whole(256, 336), _whole(256, 324)),
    facts=(
        "14-bit digital output; FFC and radiometry: FLIR, Tau 2 Product Specification 102-PS242-40 rev. 141",
    ),
    unverified=(
        "14 bits, raw counts; with TLinear 0.04 K (high) or 0.4 K (low resolution) per count by secondary sources",
        "telemetry rows of the digital channels: their place is not known, so no mode with them is listed",
    ),
)

_INFIRAY = CameraProfile(
    "infiray",
    valid_bits=16,
    layouts=(RawLayout((384, 256), (192, 384), (0, 256)),),
    kelvin_per_count=1 / 64,
    fps=25.0,
    pixel_format="yuyv422",
    facts=(
        "P2 Pro: one YUYV stream of 256x384 at 25 frames per second, the upper half a picture, the lower half "
        "little-endian words of temperature: open viewer LeoDJ/P2Pro-Viewer",
        "1/64 kelvin per count: open drivers of that family",
    ),
    unverified=(
        "no vendor manual was found; modules with status rows between or below the halves need a profile of their own",
    ),
)

_SEEK = CameraProfile(
    "seek",
    valid_bits=14,
    layouts=(RawLayout((156, 208), (1, 155), (0, 207), (0, 1)),),
    telemetry="seek",
    fps=9.0,
    facts=(
        "Compact: raw 208x156 little-endian words over USB, picture 207x154 from row 1, type of the frame in word 10: "
        "open driver OpenThermal/libseek-thermal",
    ),
    unverified=(
        "no vendor manual was found; 14 bits and 9 frames per second are the driver's",
        "the words are not corrected: subtract the last frame of the shutter (flag ffc) before you detect",
    ),
)

_GENERIC = CameraProfile(
    "generic-y16",
    valid_bits=16,
    facts=(
        "V4L2 'Y16 ': 16 bits a pixel, little endian, unused bits zero: Linux kernel, pixel format documentation",
    ),
)

CAMERAS: Final[dict[str, CameraProfile]] = {
    profile.name: profile for profile in (_BOSON, _LEPTON, _TAU, _INFIRAY, _SEEK, _GENERIC)
}
"""The profiles that come with the SDK, by name."""


def camera_profile(camera: str | os.PathLike[str] | CameraProfile) -> CameraProfile:
    """The profile that was meant.

    Args:
        camera: A name of `CAMERAS`, the path of a JSON file (`CameraProfile.load`), or a profile.

    Raises:
        InputError: There is none; the message lists the names.
    """
    if isinstance(camera, CameraProfile):
        return camera
    try:
        text = os.fspath(camera)
    except TypeError:
        text = None
    if isinstance(text, str) and text in CAMERAS:
        return CAMERAS[text]
    if isinstance(text, str) and (text.endswith(".json") or Path(text).is_file()):
        return CameraProfile.load(text)
    raise InputError(
        f"camera {camera!r} is not known; there are {', '.join(CAMERAS)}, "
        "the path of a JSON profile, or a CameraProfile"
    )
