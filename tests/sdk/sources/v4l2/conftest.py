# SPDX-License-Identifier: Apache-2.0
"""A made-up capture device behind the calls of the kernel: no driver, no camera."""

from __future__ import annotations

import ctypes
import errno
import os
from collections import deque
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper.sdk.sources.v4l2 import structs
from pitviper.sdk.sources.v4l2.structs import fourcc, fourcc_text


class Memory(bytearray):
    """A mapped buffer."""

    closed = False

    def close(self) -> None:
        self.closed = True


class FakeDevice:
    """Keeps to the order that the kernel asks for: mapped, queued, started, and only then frames.

    `shots` are (pixels, sequence, changes of the buffer's fields) or an OSError for DQBUF.
    """

    def __init__(self, shots: list[Any], *, modes: dict[str, list[tuple[int, int]]] | None = None) -> None:
        self.modes = modes or {"Y16": [(512, 640), (256, 320)], "I420": [(512, 640)]}
        self.format = (next(iter(self.modes)), 512, 640)
        self.rate = (1, 60)
        self.padding = 0
        self.granted = 4
        self.shots = deque(shots)
        self.memory: list[Memory] = []
        self.queued: deque[int] = deque()
        self.streaming = False
        self.closed = 0
        self.asked: list[str] = []

    def call(self, request: str, argument: Any) -> None:
        self.asked.append(request)
        if self.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        getattr(self, request.lower())(argument)

    def querycap(self, c: Any) -> None:
        c.driver, c.card = b"fake", b"Fake camera"
        c.capabilities = structs.CAP_DEVICE_CAPS
        c.device_caps = structs.CAP_VIDEO_CAPTURE | structs.CAP_STREAMING

    def enum_fmt(self, d: Any) -> None:
        code = self._nth(list(self.modes), d.index)
        d.pixelformat, d.description = fourcc(code), code.encode()

    def enum_framesizes(self, s: Any) -> None:
        height, width = self._nth(self.modes.get(fourcc_text(s.pixel_format), []), s.index)
        s.type, s.values[0], s.values[1] = structs.DISCRETE, width, height

    def enum_frameintervals(self, v: Any) -> None:
        v.type = structs.DISCRETE
        v.values[0], v.values[1] = 1, self._nth([60, 30], v.index)

    @staticmethod
    def _nth(items: list[Any], index: int) -> Any:
        if index >= len(items):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return items[index]

    def g_fmt(self, f: Any) -> None:
        code, height, width = self.format
        f.fmt.pix.pixelformat, f.fmt.pix.height, f.fmt.pix.width = fourcc(code), height, width
        f.fmt.pix.bytesperline = 2 * width + self.padding

    def s_fmt(self, f: Any) -> None:
        code = fourcc_text(f.fmt.pix.pixelformat)
        if code not in self.modes:
            code = next(iter(self.modes))
        size = (f.fmt.pix.height, f.fmt.pix.width)
        # Like drivers do: the nearest thing, without an error.
        self.format = (code, *(size if size in self.modes[code] else self.modes[code][0]))
        self.g_fmt(f)

    def g_parm(self, p: Any) -> None:
        p.numerator, p.denominator = self.rate

    def s_parm(self, p: Any) -> None:
        wanted = p.denominator / p.numerator
        self.rate = (1, 60 if wanted > 45 else 30)
        self.g_parm(p)

    def reqbufs(self, r: Any) -> None:
        r.count = min(r.count, self.granted)

    def querybuf(self, b: Any) -> None:
        b.length = (2 * self.format[2] + self.padding) * self.format[1]
        b.m.offset = b.index

    def map(self, length: int, offset: int) -> Memory:
        assert offset == len(self.memory)
        self.memory.append(Memory(length))
        return self.memory[-1]

    def qbuf(self, b: Any) -> None:
        assert b.index not in self.queued, "a buffer was given twice"
        self.queued.append(b.index)

    def streamon(self, kind: ctypes.c_int32) -> None:
        assert kind.value == structs.CAPTURE
        assert len(self.queued) == len(self.memory), "started without buffers"
        self.streaming = True

    def streamoff(self, kind: ctypes.c_int32) -> None:
        self.streaming = False

    def wait(self, seconds: float) -> bool:
        assert self.streaming
        return bool(self.shots)

    def dqbuf(self, b: Any) -> None:
        shot = self.shots.popleft()
        if isinstance(shot, OSError):
            raise shot
        pixels, sequence, changes = shot
        index = self.queued.popleft()
        data = pixels if isinstance(pixels, bytes) else self.rows(pixels)
        self.memory[index][: len(data)] = data
        b.index, b.sequence, b.bytesused = index, sequence, len(data)
        b.flags = structs.TIMESTAMP_MONOTONIC
        b.timestamp.tv_sec, b.timestamp.tv_usec = 7, 1000 * sequence
        for key, value in changes.items():
            setattr(b, key, value)

    def rows(self, pixels: NDArray[Any]) -> bytes:
        data = pixels.view(np.uint8).reshape(pixels.shape[0], -1)
        return np.pad(data, ((0, 0), (0, self.padding)), constant_values=0xEE).tobytes()

    def close(self) -> None:
        self.closed += 1


def picture(seed: int, shape: tuple[int, int] = (512, 640)) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(0, 65536, shape).astype("<u2")


@pytest.fixture
def fake() -> type[FakeDevice]:
    return FakeDevice


@pytest.fixture
def shots() -> list[Any]:
    """Three frames of noise over all 16 bits."""
    return [(picture(index), index, {}) for index in range(3)]
