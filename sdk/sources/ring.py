# SPDX-License-Identifier: Apache-2.0
"""A ring of frames in shared memory: its layout, and the writer for camera processes. NumPy only.

The file /dev/shm/NAME holds a header of 128 bytes and then slots of equal size; all numbers are little endian.

======  =====  =========================================================================================
offset  type   header
======  =====  =========================================================================================
0       8s     ``PVRING01``: magic and version of the layout
8       u32    number of slots, 2 to 4096
12      u32    bytes of a slot, its 64 bytes of head included, a multiple of 64
16      u32    height in pixels
20      u32    width in pixels
24      u32    kind of pixel: 1 uint8, 2 uint16, 3 float16, 4 float32
28      u32    process id of the writer
32      f64    frames per second, 0 when not known
64      u64    frames written up to now: frame n lies in slot n mod slots
72      u32    1 when the writer has closed the ring
======  =====  =========================================================================================

Each slot begins with a head of 64 bytes: u64 counter, i64 time of the sensor (or -1), i64 monotonic time and i64 UTC
of the frame, all in nanoseconds, i64 number of the frame; then the pixels in C order. The counter of frame n is
2 n + 1 while it is being written and 2 n + 2 when it is whole. A reader takes a frame only if the counter is 2 n + 2
before and after it has copied the pixels, so a torn frame cannot pass. A writer in C stores the counters with
``memory_order_release`` behind a fence (``atomic_thread_fence``); here `fence` stands for both.
"""

from __future__ import annotations

import mmap
import os
import re
import struct
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.errors import InputError, SinkError, SourceError

__all__ = ["HEADER_BYTES", "RingLayout", "RingWriter", "fence", "parse_header", "ring_path"]

MAGIC: Final = b"PVRING01"
HEADER_BYTES: Final = 128
HEAD_BYTES: Final = 64
COUNT_AT: Final = 64
CLOSED_AT: Final = 72
HEADER: Final = struct.Struct("<8s6Id")
HEAD: Final = struct.Struct("<Q4q")
COUNTER: Final = struct.Struct("<Q")
KINDS: Final[dict[int, np.dtype[Any]]] = {
    number: np.dtype(kind) for number, kind in enumerate(("u1", "<u2", "<f2", "<f4"), start=1)
}
_LARGEST_SIDE: Final = 16384
_FENCE: Final = threading.Lock()


def fence() -> None:
    """Keep memory accesses before and after it in their order, on processors that would not (ARM).

    Releasing a lock is a store-release and taking it a load-acquire. x86 keeps the order that the counters need anyway.
    """
    with _FENCE:
        pass
    with _FENCE:
        pass


@dataclass(frozen=True)
class RingLayout:
    """What the header of a ring says; shape is (H, W)."""

    slots: int
    slot_bytes: int
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    writer: int
    fps: float | None

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole ring."""
        return HEADER_BYTES + self.slots * self.slot_bytes

    @property
    def frame_bytes(self) -> int:
        """Bytes of the pixels of one frame."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize

    def at(self, index: int) -> int:
        """Offset of the slot of frame `index`."""
        return HEADER_BYTES + index % self.slots * self.slot_bytes


def parse_header(data: bytes, size: int) -> RingLayout:
    """Read and check a header.

    Args:
        data: The first `HEADER_BYTES` of a ring.
        size: Bytes that the ring has.

    Raises:
        SourceError: No ring of this version, or numbers that cannot be.
    """
    if len(data) < HEADER_BYTES or not data.startswith(MAGIC):
        raise SourceError(
            f"no ring of frames: it begins with {bytes(data[:8])!r}, needed is {MAGIC!r}; is it made by RingWriter?"
        )
    _, slots, slot_bytes, height, width, kind, writer, fps = HEADER.unpack_from(data)
    if kind not in KINDS or not 2 <= slots <= 4096:
        raise SourceError(
            f"the ring's header is damaged: {slots} slots, kind of pixel {kind}; write it again"
        )
    if not (1 <= height <= _LARGEST_SIDE and 1 <= width <= _LARGEST_SIDE):
        raise SourceError(f"the ring's header is damaged: frames of {width}x{height}; write it again")
    rate = float(fps) if 0 < fps < 1e6 else None
    layout = RingLayout(slots, slot_bytes, (height, width), KINDS[kind], writer, rate)
    if slot_bytes % HEAD_BYTES or slot_bytes < HEAD_BYTES + layout.frame_bytes or layout.total_bytes > size:
        raise SourceError(
            f"the ring's header is damaged: {slots} slots of {slot_bytes} bytes for frames of {layout.frame_bytes} "
            f"bytes, in {size} bytes; write it again"
        )
    return layout


def ring_path(name: str) -> str:
    """The file of a ring by its name.

    Raises:
        InputError: Not a plain name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,200}", name):
        raise InputError(
            f"the name of a ring is of letters, digits, '.', '-' and '_', got {name!r}; for example shm://camera"
        )
    return f"/dev/shm/{name}"


class RingWriter:
    """Puts frames into shared memory for `shm://NAME`, from one thread of a camera process.

    The oldest frame is overwritten; a reader that is too slow counts what it has missed. The name is free again when
    the writer is closed; readers that have the ring open see its end.

    Args:
        name: Letters, digits, '.', '-', '_'.
        shape: (H, W) of every frame.
        dtype: uint8, uint16, float16 or float32.
        slots: Frames that the ring holds.
        fps: Frames per second, where known.
        replace: Take over a ring of this name that is there; else that is an error.

    Raises:
        InputError: An argument out of range.
        SinkError: The ring is there already, or there is no room for it.

    Example:
        >>> with RingWriter("camera", (512, 640)) as ring:  # doctest: +SKIP
        ...     ring.write(frame)
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, int],
        dtype: Any = np.uint16,
        *,
        slots: int = 8,
        fps: float | None = None,
        replace: bool = False,
    ) -> None:
        self.path = ring_path(name)
        kind = next((number for number, each in KINDS.items() if each == np.dtype(dtype)), None)
        if kind is None or not 2 <= slots <= 4096 or not all(1 <= side <= _LARGEST_SIDE for side in shape):
            raise InputError(
                f"a ring holds 2 to 4096 frames of uint8, uint16, float16 or float32, got {slots} of "
                f"{np.dtype(dtype)} {shape}"
            )
        pixels = shape[0] * shape[1] * KINDS[kind].itemsize
        slot_bytes = HEAD_BYTES + -(-pixels // HEAD_BYTES) * HEAD_BYTES
        if slot_bytes >= 1 << 32:
            raise InputError(f"a frame of {pixels} bytes does not fit into a slot; 4 GiB is the limit")
        self.layout = RingLayout(slots, slot_bytes, (shape[0], shape[1]), KINDS[kind], os.getpid(), fps)
        self._count = 0
        self._file, self._map = self._made(replace)
        header = HEADER.pack(MAGIC, slots, slot_bytes, *shape, kind, os.getpid(), fps or 0.0)
        # The magic comes last: until then nobody takes this for a ring.
        self._map[8 : len(header)] = header[8:]
        fence()
        self._map[:8] = MAGIC

    def _made(self, replace: bool) -> tuple[int, mmap.mmap]:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            if replace and os.path.exists(self.path):
                # Readers of the old ring keep theirs until they open the name anew.
                os.unlink(self.path)
            file = os.open(self.path, flags, 0o600)
        except FileExistsError as error:
            raise SinkError(
                f"{self.path}: there is a ring of this name; choose another, or replace=True if its writer is gone"
            ) from error
        except OSError as error:
            raise SinkError(f"{self.path}: cannot be made ({error.strerror})") from error
        try:
            os.posix_fallocate(file, 0, self.layout.total_bytes)
            return file, mmap.mmap(file, self.layout.total_bytes)
        except OSError as error:
            os.close(file)
            os.unlink(self.path)
            raise SinkError(
                f"{self.path}: no room for {self.layout.total_bytes} bytes in /dev/shm ({error.strerror}); "
                "take fewer slots"
            ) from error

    def write(self, frame: NDArray[Any], *, sensor_ns: int | None = None, index: int | None = None) -> None:
        """Publish one frame.

        Args:
            frame: [H, W] of the ring's shape and type.
            sensor_ns: Time by the camera's own clock.
            index: The camera's number of the frame, where it counts; None counts here.

        Raises:
            InputError: Another shape or type, or the ring is closed.
        """
        layout = self.layout
        if frame.shape != layout.shape or frame.dtype != layout.dtype:
            raise InputError(
                f"this ring holds {layout.dtype} {layout.shape}, got {frame.dtype} {frame.shape}; make another ring"
            )
        if self._map.closed:
            raise InputError("this ring is closed; make a new RingWriter")
        count, at = self._count, layout.at(self._count)
        times = (-1 if sensor_ns is None else sensor_ns, time.monotonic_ns(), time.time_ns())
        COUNTER.pack_into(self._map, at, 2 * count + 1)
        fence()
        HEAD.pack_into(self._map, at, 2 * count + 1, *times, count if index is None else index)
        pixels = np.frombuffer(self._map, layout.dtype, layout.shape[0] * layout.shape[1], at + HEAD_BYTES)
        pixels.reshape(layout.shape)[...] = frame
        del pixels  # The map cannot be closed while an array looks into it.
        fence()
        COUNTER.pack_into(self._map, at, 2 * count + 2)
        fence()
        self._count = count + 1
        COUNTER.pack_into(self._map, COUNT_AT, self._count)

    def close(self) -> None:
        """Tell readers that this was all, and free the name. Twice is fine."""
        if self._map.closed:
            return
        self._map[CLOSED_AT] = 1
        self._map.close()
        own = os.fstat(self._file)
        os.close(self._file)
        try:
            there = os.stat(self.path)
            if (there.st_dev, there.st_ino) == (own.st_dev, own.st_ino):
                os.unlink(self.path)
        except FileNotFoundError:
            return

    def __enter__(self) -> RingWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
