# SPDX-License-Identifier: Apache-2.0
"""Every parser of outside bytes: inputs that are right, how it is called, and the errors that it may raise."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pitviper import sdk
from pitviper.core.manifest import Manifest, OperatingPoint, PackageError
from pitviper.kernels import NORMALISATION
from pitviper.sdk.calibration import Calibration
from pitviper.sdk.cameras import CAMERAS, telemetry
from pitviper.sdk.fa_budget import from_table
from pitviper.sdk.record.entries import Entry, Header, Setup, pack_found, parse_line, unpack_found
from pitviper.sdk.sinks.fragments import drop_torn_fragment
from pitviper.sdk.sources import FrameTime, ring, watch
from pitviper.sdk.sources.schemes import OpenOptions, find_scheme
from pitviper.sdk.sources.synthetic import parse_scene
from pitviper.sdk.sources.v4l2 import open_device, pixels, structs

# In memory where there is such a place: a disk would take most of the time.
FOLDER = Path("/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir())


@dataclass(frozen=True)
class Target:
    """One parser: right inputs to start from, the call, and what it may raise."""

    seeds: tuple[bytes, ...]
    run: Callable[[bytes], object]
    allowed: tuple[type[BaseException], ...]


def file_of(data: bytes) -> Path:
    """A file with these bytes, the same one each time."""
    path = FOLDER / f"pitviper-fuzz-{os.getpid()}.json"
    path.write_bytes(data)
    return path


def manifest_text() -> bytes:
    points = tuple(
        OperatingPoint(name, t, "set", 0.9, 3.0, 0.1) for name, t in (("default", 0.5), ("low", 0.2))
    )
    made = Manifest(
        name="m",
        architecture={"name": "pit", "version": "1", "config": {}},
        normalisation=NORMALISATION,
        stride=8,
        operating_points=points,
        metrics={"set": {"images": 42, "pd": 0.9}},
        training={"command": "train"},
        data=({"name": "set", "frames": 42},),
        licence="Apache-2.0",
        provenance="made by hand",
        files={"network.onnx": {"sha256": "0" * 64, "bytes": 3}},
    )
    return made.to_json().encode()


def run_manifest(data: bytes) -> None:
    """Reading, and everything that looks into the table of operating points."""
    manifest = Manifest.from_json(data.decode("utf-8", "replace"))
    manifest.default_threshold()
    for budget in (sdk.FaBudget(per_frame=0.2), sdk.FaBudget(per_hour=2, fps=30, data="set")):
        with suppress(sdk.InputError):
            from_table(budget, manifest)


def found() -> sdk.Detections:
    return sdk.Detections(
        xy=[[1.5, 2.5], [30.25, 9.75]],
        xyxy=[[1, 2, 3, 4], [28, 8, 32, 12]],
        score=[0.9, 0.7],
        mean=[0.8, 0.6],
        area_px=[4, 16],
        snr=[7.5, np.nan],
        shape=(48, 64),
        flags=("tiled",),
    )


def index_lines() -> tuple[bytes, ...]:
    setup = Setup(
        "pit-s", "0" * 64, {"name": "onnxruntime"}, monitor={"camera": None}, tracker={"confirm": [3, 5]}
    )
    header = Header("raw", "replay", 30.0, "boson", "2026-01-01", "0.1", setup)
    entry = Entry(
        3, FrameTime(None, 5, 6), "a.png", ("ffc",), (48, 64), "uint16", 0, 6144, 77, pack_found(found())
    )
    words = sdk.cameras.Telemetry(5, "done", 9, False)
    tracked = replace(entry, telemetry=words, found=pack_found(with_track()))
    return header.to_line(), entry.to_line(), tracked.to_line()


def with_track() -> sdk.Detections:
    track = sdk.Track(1, "confirmed", 1.5, 2.5, 0.1, 0.2, 0.5, 1.0, 0.0, 5)
    return replace(found(), tracks=(track,))


def run_index(data: bytes) -> None:
    if b"schema" in data:
        parse_line(data, first=True)
    else:
        unpack_found(parse_line(data, first=False))


def run_telemetry(data: bytes) -> None:
    words = np.frombuffer(data[: len(data) // 2 * 2], "<u2")[None]
    for name in telemetry.DECODERS:
        telemetry.decode(name, words)


def run_profile(data: bytes) -> None:
    profile = sdk.CameraProfile.load(file_of(data))
    profile.unpack(np.zeros((122, 160), np.uint16))


def run_raw_frame(data: bytes) -> None:
    for profile in CAMERAS.values():
        with suppress(sdk.InputError):
            profile.unpack(data)


class HostileDevice:
    """Answers every call with the bytes of the input."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at, self.calls = data, 0, 0

    def call(self, request: str, argument: Any) -> None:
        self.calls += 1
        if self.calls > 600:
            raise OSError(errno.EIO, "enough")
        size = ctypes.sizeof(argument)
        answer = self.data[self.at : self.at + size]
        self.at += size
        if len(answer) < size:
            raise OSError((errno.EINVAL, errno.EIO, errno.ENODEV, errno.EAGAIN)[self.calls % 4], "fuzz")
        ctypes.memmove(ctypes.addressof(argument), answer, size)

    def map(self, length: int, offset: int) -> Any:
        if length > 1 << 20:
            raise OSError(errno.ENOMEM, "fuzz")
        return Memory(length)

    def wait(self, seconds: float) -> bool:
        return self.calls < 500

    def close(self) -> None:
        self.at = len(self.data)


class Memory(bytearray):
    def close(self) -> None:
        return None


def run_ioctl(data: bytes) -> None:
    """Opening and reading a device whose answers are the input."""
    source = open_device(HostileDevice(data), "fuzz", OpenOptions(timeout_s=1, on_error="skip"))
    if source is not None:
        with source:
            next(source)


def ioctl_answers() -> bytes:
    """What a device answers on opening and for a first frame, call by call."""
    caps = structs.CAP_VIDEO_CAPTURE | structs.CAP_STREAMING
    form = structs.Format(type=1)
    pix = form.fmt.pix
    pix.width, pix.height, pix.pixelformat, pix.bytesperline = 64, 48, structs.fourcc("Y16"), 128
    buffer = structs.Buffer(type=1, memory=1, length=6144, bytesused=6144, sequence=1)
    rate = structs.StreamParameters(type=1, numerator=1, denominator=30)
    start = ctypes.c_int32(1)
    answers: list[Any] = [structs.Capability(driver=b"d", capabilities=caps), form, rate, form, form, rate]
    answers += [structs.RequestBuffers(count=2), buffer, buffer, buffer, buffer, start, buffer]
    return b"".join(bytes(each) for each in answers)


def run_rows(data: bytes) -> None:
    if len(data) < 8:
        return
    width, height, stride = (
        int.from_bytes(data[:2], "little"),
        data[2] * 3,
        int.from_bytes(data[4:7], "little"),
    )
    code = sorted(pixels.PIXELS)[data[7] % len(pixels.PIXELS)]
    structs.fourcc_text(int.from_bytes(data[:4], "little"))
    pixels.unpack_rows(data[8:], code, size=(height, width), bytes_per_line=stride, words=bool(data[3] & 1))


def ring_header() -> bytes:
    return ring.HEADER.pack(ring.MAGIC, 4, 64 + 6144, 48, 64, 2, 1, 30.0).ljust(ring.HEADER_BYTES, b"\0")


def run_ring(data: bytes) -> None:
    layout = ring.parse_header(data, 128 + 4 * 6208)
    # What the reader then does with it: no slot may lie outside.
    assert all(layout.at(n) + 64 + layout.frame_bytes <= 128 + 4 * 6208 for n in (0, 3, 1 << 40))


def calibration_text() -> bytes:
    made = Calibration.of([0.1, 0.5, 0.3], model="m", model_sha256="0", source="s", fps=30.0, per_frame=0.9)
    return made.to_json().encode()


def run_calibration(data: bytes) -> None:
    made = Calibration.load(file_of(data))
    made.to_json()
    made.bound(0.5)
    for answer in (
        made.chosen_threshold,
        lambda: made.threshold_for(sdk.FaBudget(per_frame=0.9, per_hour=5)),
    ):
        with suppress(sdk.InputError):
            answer()


def run_fragments(data: bytes) -> None:
    drop_torn_fragment(file_of(data))


def boxes(*kinds: bytes) -> bytes:
    return b"".join((16).to_bytes(4, "big") + kind + bytes(8) for kind in kinds)


def run_text(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    find_scheme(text)
    parse_scene("synthetic://" + text)


def inotify() -> bytes:
    return b"".join(
        watch._EVENT.pack(1, mask, 0, 16) + name.ljust(16, b"\0")
        for mask, name in ((8, b"a.png"), (0x4000, b""))
    )


_BAD = (sdk.SdkError,)
TARGETS: dict[str, Target] = {
    "manifest and operating points": Target((manifest_text(),), run_manifest, (PackageError,)),
    "replay index": Target(index_lines(), run_index, (sdk.SourceError,)),
    "telemetry": Target((bytes(128), bytes(range(256))), run_telemetry, (sdk.InputError,)),
    "raw frame of a camera": Target((bytes(2 * 122 * 160),), run_raw_frame, ()),
    "camera profile": Target(
        tuple(json.dumps(asdict(each)).encode() for each in CAMERAS.values()), run_profile, (sdk.InputError,)
    ),
    "calibration": Target((calibration_text(),), run_calibration, (sdk.InputError,)),
    "ioctl answers": Target((ioctl_answers(),), run_ioctl, (sdk.SourceError, sdk.InputError, StopIteration)),
    "rows of a driver": Target(
        (bytes((64, 0, 16, 0, 128, 0, 0, 6)) + bytes(6144),), run_rows, (sdk.SourceError,)
    ),
    "shared memory header": Target((ring_header(),), run_ring, (sdk.SourceError,)),
    "inotify events": Target((inotify(),), watch.parse_events, (sdk.SourceError,)),
    "torn MP4": Target((boxes(b"ftyp", b"moov", b"moof", b"mdat", b"moof"),), run_fragments, ()),
    "scheme and scene": Target((b"sea?width=64&snr=3,5", b"rtsp://u:p@h/x"), run_text, _BAD),
}
