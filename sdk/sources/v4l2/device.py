# SPDX-License-Identifier: Apache-2.0
"""The thin layer between the reader and the kernel; a test puts a made-up device in its place."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import re
import select
import time
from typing import Any, Final, Protocol

from pitviper.sdk.errors import SourceError
from pitviper.sdk.sources.v4l2.structs import REQUESTS

__all__ = ["Device", "KernelDevice", "check_device", "list_devices"]

_TRIES: Final = 16


class Device(Protocol):
    """What the reader needs of a capture device."""

    def call(self, request: str, argument: ctypes.Structure | ctypes.c_int32) -> None:
        """VIDIOC_`request`; the kernel's answer is in `argument`. Raises OSError."""

    def map(self, length: int, offset: int) -> Any:
        """A frame buffer of the driver: bytes-like, with ``close``."""

    def wait(self, seconds: float) -> bool:
        """Wait until a frame is there, or the device failed; False when the time is over."""

    def close(self) -> None:
        """Let go of the device. Twice is fine."""


class KernelDevice:
    """A device node. Opened without blocking, so that no call waits longer than it was told to.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: str) -> None:
        self._file: int | None = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN | select.POLLPRI)

    def call(self, request: str, argument: ctypes.Structure | ctypes.c_int32) -> None:
        if self._file is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        for attempt in range(_TRIES):
            try:
                # With mutate_flag the kernel writes straight into the structure.
                fcntl.ioctl(self._file, REQUESTS[request], argument, True)
                return
            except InterruptedError:
                if attempt == _TRIES - 1:
                    raise

    def map(self, length: int, offset: int) -> mmap.mmap:
        assert self._file is not None
        return mmap.mmap(self._file, length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset)

    def wait(self, seconds: float) -> bool:
        end = time.monotonic() + min(seconds, 1e6)
        while True:
            left = end - time.monotonic()
            # In steps, because poll takes milliseconds in 32 bits.
            if self._poll.poll(max(0.0, min(left, 60.0)) * 1000.0):
                return True
            if left <= 0:
                return False

    def close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


def list_devices(folder: str = "/dev") -> list[str]:
    """Paths of the video devices of this machine, by number."""
    try:
        names = [name for name in os.listdir(folder) if re.fullmatch(r"video\d+", name)]
    except OSError:
        return []
    return [f"{folder}/{name}" for name in sorted(names, key=lambda name: int(name[5:]))]


def check_device(path: str) -> None:
    """Refuse a device that is not there or must not be opened.

    Raises:
        SourceError: So it is; the message names what is there, and the fix.
    """
    if not os.path.exists(path):
        there = ", ".join(list_devices()) or "none"
        raise SourceError(f"{path}: no such camera; present: {there}. Plug it in, or name one of these")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(f"{path}: no permission; add the user to the group video and log in again")
