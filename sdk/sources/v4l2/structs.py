# SPDX-License-Identifier: Apache-2.0
"""Structures and numbers of <linux/videodev2.h> that single-planar capture needs, for 64-bit Linux.

A test compiles a C program against the header and compares every size, offset and request number.
"""

from __future__ import annotations

import ctypes
from ctypes import Structure, Union, c_char, c_int32, c_int64, c_uint8, c_uint32, c_ulong
from typing import Final

__all__ = [
    "BUF_ERROR",
    "CAPTURE",
    "CAP_DEVICE_CAPS",
    "CAP_STREAMING",
    "CAP_VIDEO_CAPTURE",
    "MMAP",
    "REQUESTS",
    "TIMESTAMP_MASK",
    "TIMESTAMP_MONOTONIC",
    "Buffer",
    "Capability",
    "Format",
    "FormatDescription",
    "FrameInterval",
    "FrameSize",
    "PixelFormat",
    "RequestBuffers",
    "StreamParameters",
    "Timestamp",
    "fourcc",
    "fourcc_text",
]

CAPTURE: Final = 1
MMAP: Final = 1
CAP_VIDEO_CAPTURE: Final = 0x1
CAP_STREAMING: Final = 0x04000000
CAP_DEVICE_CAPS: Final = 0x80000000
BUF_ERROR: Final = 0x40
TIMESTAMP_MASK: Final = 0xE000
TIMESTAMP_MONOTONIC: Final = 0x2000
DISCRETE: Final = 1


class Capability(Structure):
    """struct v4l2_capability."""

    _fields_ = (
        ("driver", c_char * 16),
        ("card", c_char * 32),
        ("bus_info", c_char * 32),
        ("version", c_uint32),
        ("capabilities", c_uint32),
        ("device_caps", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class FormatDescription(Structure):
    """struct v4l2_fmtdesc."""

    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("flags", c_uint32),
        ("description", c_char * 32),
        ("pixelformat", c_uint32),
        ("mbus_code", c_uint32),
        ("reserved", c_uint32 * 3),
    )


class FrameSize(Structure):
    """struct v4l2_frmsizeenum: ``values`` is (width, height), or min, max and step of both where stepwise."""

    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("type", c_uint32),
        ("values", c_uint32 * 6),
        ("reserved", c_uint32 * 2),
    )


class FrameInterval(Structure):
    """struct v4l2_frmivalenum: ``values`` is a fraction of seconds, or min, max and step where stepwise."""

    _fields_ = (
        ("index", c_uint32),
        ("pixel_format", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("type", c_uint32),
        ("values", c_uint32 * 6),
        ("reserved", c_uint32 * 2),
    )


class PixelFormat(Structure):
    """struct v4l2_pix_format."""

    _fields_ = (
        ("width", c_uint32),
        ("height", c_uint32),
        ("pixelformat", c_uint32),
        ("field", c_uint32),
        ("bytesperline", c_uint32),
        ("sizeimage", c_uint32),
        ("colorspace", c_uint32),
        ("priv", c_uint32),
        ("flags", c_uint32),
        ("ycbcr_enc", c_uint32),
        ("quantization", c_uint32),
        ("xfer_func", c_uint32),
    )


class _FormatUnion(Union):
    # The pointer in v4l2_window aligns the union to 8 bytes.
    _fields_ = (("pix", PixelFormat), ("raw_data", c_uint8 * 200), ("_align", c_ulong))


class Format(Structure):
    """struct v4l2_format."""

    _fields_ = (("type", c_uint32), ("fmt", _FormatUnion))


class StreamParameters(Structure):
    """struct v4l2_streamparm with struct v4l2_captureparm inside."""

    _fields_ = (
        ("type", c_uint32),
        ("capability", c_uint32),
        ("capturemode", c_uint32),
        ("numerator", c_uint32),
        ("denominator", c_uint32),
        ("extendedmode", c_uint32),
        ("readbuffers", c_uint32),
        ("reserved", c_uint8 * 176),
    )


class RequestBuffers(Structure):
    """struct v4l2_requestbuffers."""

    _fields_ = (
        ("count", c_uint32),
        ("type", c_uint32),
        ("memory", c_uint32),
        ("capabilities", c_uint32),
        ("flags", c_uint8),
        ("reserved", c_uint8 * 3),
    )


class Timestamp(Structure):
    """struct timeval of 64-bit systems."""

    _fields_ = (("tv_sec", c_int64), ("tv_usec", c_int64))


class _Memory(Union):
    _fields_ = (("offset", c_uint32), ("userptr", c_ulong), ("fd", c_int32))


class Buffer(Structure):
    """struct v4l2_buffer."""

    _fields_ = (
        ("index", c_uint32),
        ("type", c_uint32),
        ("bytesused", c_uint32),
        ("flags", c_uint32),
        ("field", c_uint32),
        ("timestamp", Timestamp),
        ("timecode", c_uint32 * 4),
        ("sequence", c_uint32),
        ("memory", c_uint32),
        ("m", _Memory),
        ("length", c_uint32),
        ("reserved2", c_uint32),
        ("request_fd", c_int32),
    )


def _request(direction: int, number: int, kind: type[Structure] | type[c_int32]) -> int:
    """_IOC of <asm-generic/ioctl.h>: 1 writes to the kernel, 2 reads from it, 3 both."""
    return direction << 30 | ctypes.sizeof(kind) << 16 | ord("V") << 8 | number


REQUESTS: Final[dict[str, int]] = {
    "QUERYCAP": _request(2, 0, Capability),
    "ENUM_FMT": _request(3, 2, FormatDescription),
    "G_FMT": _request(3, 4, Format),
    "S_FMT": _request(3, 5, Format),
    "REQBUFS": _request(3, 8, RequestBuffers),
    "QUERYBUF": _request(3, 9, Buffer),
    "QBUF": _request(3, 15, Buffer),
    "DQBUF": _request(3, 17, Buffer),
    "STREAMON": _request(1, 18, c_int32),
    "STREAMOFF": _request(1, 19, c_int32),
    "G_PARM": _request(3, 21, StreamParameters),
    "S_PARM": _request(3, 22, StreamParameters),
    "ENUM_FRAMESIZES": _request(3, 74, FrameSize),
    "ENUM_FRAMEINTERVALS": _request(3, 75, FrameInterval),
}
"""Name without VIDIOC_ -> request number."""


def fourcc(text: str) -> int:
    """The number of a four-character code; ``-BE`` behind it sets the bit for big endian."""
    code, big = (text[:-3], 1 << 31) if text.endswith("-BE") else (text, 0)
    return int.from_bytes(code.ljust(4).encode("ascii")[:4], "little") | big


def fourcc_text(number: int) -> str:
    """The four-character code of a number, without trailing blanks; what cannot be printed becomes ``?``."""
    raw = (number & 0x7FFFFFFF).to_bytes(4, "little")
    text = "".join(chr(each) if 32 <= each < 127 else "?" for each in raw).rstrip()
    return f"{text}-BE" if number >> 31 & 1 else text
