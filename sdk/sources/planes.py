# SPDX-License-Identifier: Apache-2.0
"""A decoded picture as one plane of numbers, without passing through RGB and without losing a bit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.errors import InputError

if TYPE_CHECKING:
    import av

__all__ = ["has_colour", "to_plane", "to_words"]

_PLANAR = re.compile(r"^(gray|ya8$|yuva?j?4\d\dp|nv\d\d|p0\d\d|p2\d\d|p4\d\d)")
_PACKED = {"yuyv422": 0, "yvyu422": 0, "uyvy422": 1}
# Mean distance of the chroma samples from neutral gray, in 8-bit steps, that rounding in a codec does not reach.
_NEUTRAL = 3.0


def to_plane(picture: av.VideoFrame, name: str) -> NDArray[Any]:
    """The gray or luma plane: uint8 [H, W], or uint16 [H, W] for formats of 9 to 16 bits, values as stored.

    Raises:
        InputError: A colour format whose planes differ, or one that is not known.
    """
    kind = picture.format.name
    if kind.startswith("grayf"):
        return _plane(picture, 0, np.dtype(np.float32).newbyteorder(">" if kind.endswith("be") else "<"))
    if _PLANAR.match(kind):
        bits = picture.format.components[0].bits
        if bits <= 8 and kind != "ya8":
            return _plane(picture, 0, np.dtype(np.uint8))
        if bits > 8:
            luma = _plane(picture, 0, np.dtype(np.uint16).newbyteorder(">" if kind.endswith("be") else "<"))
            # Semi-planar formats keep their bits at the upper end of the 16.
            return luma >> (16 - bits) if kind.startswith("p") and bits < 16 else luma
    if kind in _PACKED:
        return np.ascontiguousarray(_plane(picture, 0, np.dtype(np.uint8), step=2)[:, _PACKED[kind] :: 2])
    if kind in {
        "rgb24",
        "bgr24",
        "rgb0",
        "bgr0",
        "0rgb",
        "0bgr",
        "rgba",
        "bgra",
        "argb",
        "abgr",
        "gbrp",
        "pal8",
    }:
        return _equal_planes(picture, name)
    raise InputError(
        f"{name}: pixel format {kind} is not supported; store the frames as gray8 or gray16le "
        "(ffmpeg -i IN -pix_fmt gray16le -c:v ffv1 OUT.mkv)"
    )


def to_words(picture: av.VideoFrame, name: str) -> NDArray[Any]:
    """The two bytes of each pixel of a packed 4:2:2 picture as one little-endian word, uint16 [H, W].

    For cameras that send 16-bit counts under the name of YUYV. Other formats are read by `to_plane`.
    """
    if picture.format.name not in _PACKED:
        return to_plane(picture, name)
    return _plane(picture, 0, np.dtype("<u2"))


def has_colour(picture: av.VideoFrame) -> bool:
    """Whether the chroma of a picture says more than gray; looked at in 8-bit planar YUV only."""
    if not re.match(r"^yuvj?4\d\dp$", picture.format.name):
        return False
    chroma = (_plane(picture, index, np.dtype(np.uint8)) for index in (1, 2))
    return any(float(np.abs(plane.astype(np.int16) - 128).mean()) > _NEUTRAL for plane in chroma)


def _plane(picture: av.VideoFrame, index: int, dtype: np.dtype[Any], *, step: int = 1) -> NDArray[Any]:
    plane = picture.planes[index]
    rows = np.frombuffer(memoryview(plane), dtype).reshape(-1, plane.line_size // dtype.itemsize)
    # A copy: the decoder's memory is let go at once, and the rows lose their padding.
    return np.array(rows[: plane.height, : plane.width * step], dtype=dtype.newbyteorder("="), order="C")


def _equal_planes(picture: av.VideoFrame, name: str) -> NDArray[Any]:
    planes = picture.to_ndarray(format="rgb24")
    first = planes[..., 0]
    if np.array_equal(first, planes[..., 1]) and np.array_equal(first, planes[..., 2]):
        return np.ascontiguousarray(first)
    raise InputError(
        f"{name}: {picture.format.name} frames with three unequal colour planes; a false-colour palette is no "
        "temperature. Switch the camera to gray or raw (Y16), or record the gray video"
    )
