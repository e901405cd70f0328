# SPDX-License-Identifier: Apache-2.0
"""The structures against the kernel's own header, by a C program."""

from __future__ import annotations

import ctypes
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pitviper.sdk.sources.v4l2 import structs
from pitviper.sdk.sources.v4l2.structs import fourcc, fourcc_text

# Our class -> the header's name, and our fields under the header's names.
PAIRS = {
    "Capability": ("v4l2_capability", {}),
    "FormatDescription": ("v4l2_fmtdesc", {}),
    "FrameSize": ("v4l2_frmsizeenum", {"values": "discrete"}),
    "FrameInterval": ("v4l2_frmivalenum", {"values": "discrete"}),
    "PixelFormat": ("v4l2_pix_format", {}),
    "Format": ("v4l2_format", {}),
    "StreamParameters": (
        "v4l2_streamparm",
        {
            "capability": "parm.capture.capability",
            "capturemode": "parm.capture.capturemode",
            "numerator": "parm.capture.timeperframe.numerator",
            "denominator": "parm.capture.timeperframe.denominator",
            "extendedmode": "parm.capture.extendedmode",
            "readbuffers": "parm.capture.readbuffers",
            "reserved": "parm.capture.reserved",
        },
    ),
    "RequestBuffers": ("v4l2_requestbuffers", {}),
    "Buffer": ("v4l2_buffer", {}),
}
NUMBERS = {
    "CAPTURE": "V4L2_BUF_TYPE_VIDEO_CAPTURE",
    "MMAP": "V4L2_MEMORY_MMAP",
    "CAP_VIDEO_CAPTURE": "V4L2_CAP_VIDEO_CAPTURE",
    "CAP_STREAMING": "V4L2_CAP_STREAMING",
    "CAP_DEVICE_CAPS": "V4L2_CAP_DEVICE_CAPS",
    "BUF_ERROR": "V4L2_BUF_FLAG_ERROR",
    "TIMESTAMP_MASK": "V4L2_BUF_FLAG_TIMESTAMP_MASK",
    "TIMESTAMP_MONOTONIC": "V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC",
    "DISCRETE": "V4L2_FRMSIZE_TYPE_DISCRETE",
}


def expected() -> dict[str, int]:
    """C expression -> what we hold."""
    found = {name: getattr(structs, ours) for ours, name in NUMBERS.items()}
    found |= {f"VIDIOC_{name}": number for name, number in structs.REQUESTS.items()}
    for ours, (name, renamed) in PAIRS.items():
        kind = getattr(structs, ours)
        found[f"sizeof(struct {name})"] = ctypes.sizeof(kind)
        for field, *_ in kind._fields_:
            found[f"offsetof(struct {name}, {renamed.get(field, field)})"] = getattr(kind, field).offset
    for code, text in (("Y16 ", "Y16"), ("Y10 ", "Y10"), ("GREY", "GREY"), ("YUYV", "YUYV")):
        characters = ", ".join(f"'{each}'" for each in code)
        found[f"v4l2_fourcc({characters})"] = fourcc(text)
    found["V4L2_PIX_FMT_Y16_BE"] = fourcc("Y16-BE")
    return found


def test_every_size_offset_and_number_is_the_headers(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux") or struct.calcsize("P") != 8:
        pytest.skip("needs a C compiler on 64-bit Linux")
    values = expected()
    lines = "".join(f'  printf("%llu\\n", (unsigned long long)({name}));\n' for name in values)
    source = tmp_path / "layout.c"
    source.write_text(
        "#include <stddef.h>\n#include <stdio.h>\n#include <linux/videodev2.h>\n"
        f"int main(void) {{\n{lines}  return 0;\n}}\n"
    )
    built = subprocess.run(
        [compiler, "-o", str(tmp_path / "layout"), str(source)], capture_output=True, text=True, check=False
    )
    if "No such file" in built.stderr and "videodev2.h" in built.stderr:
        pytest.skip("<linux/videodev2.h> is not installed")
    assert built.returncode == 0, built.stderr
    printed = subprocess.run([str(tmp_path / "layout")], capture_output=True, text=True, check=True).stdout
    theirs = dict(zip(values, map(int, printed.split()), strict=True))
    assert {name: (value, theirs[name]) for name, value in values.items() if value != theirs[name]} == {}


@pytest.mark.parametrize("text", ["Y16", "GREY", "YUYV", "Y16-BE"])
def test_codes_go_there_and_back(text: str) -> None:
    assert fourcc_text(fourcc(text)) == text


def test_a_code_of_unprintable_bytes_has_a_text() -> None:
    assert fourcc_text(0x0001FF41) == "A???"
