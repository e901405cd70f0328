# SPDX-License-Identifier: Apache-2.0
"""`V4L2Source`: raw frames of a capture device with the kernel's times and numbers, and a limit to every wait."""

from __future__ import annotations

import ctypes
import errno
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from pitviper.sdk.errors import SourceError, SourceLost, SourceTimeout
from pitviper.sdk.sources.frame import Frame, FrameTime, Source, SourceInfo
from pitviper.sdk.sources.v4l2 import structs
from pitviper.sdk.sources.v4l2.device import Device
from pitviper.sdk.sources.v4l2.negotiation import Mode
from pitviper.sdk.sources.v4l2.pixels import PIXELS, unpack_rows

__all__ = ["V4L2Source", "stamp_ns"]

_LOG = logging.getLogger("pitviper.sources")
_BUFFERS: Final = 4
_GONE: Final = (errno.ENODEV, errno.EIO, errno.ENXIO, errno.EBADF, errno.EPIPE)


def stamp_ns(buffer: structs.Buffer) -> int | None:
    """The kernel's time of a frame in nanoseconds of the monotonic clock; None where the driver has another clock."""
    if buffer.flags & structs.TIMESTAMP_MASK != structs.TIMESTAMP_MONOTONIC:
        return None
    return int(buffer.timestamp.tv_sec) * 1_000_000_000 + int(buffer.timestamp.tv_usec) * 1_000


class V4L2Source(Source):
    """Frames of one capture device, copied out of the driver's buffers.

    `Frame.time.sensor_ns` is the kernel's time on the clock of `time.monotonic_ns`. `Frame.index` counts the
    camera's frames: those that the driver had to drop leave a gap, count in `skipped` and flag the next one
    ``after_gap``. A frame that the driver marks as damaged has the flag ``corrupt``.

    Args:
        device: Opened and set to `mode`; it is closed with the source.
        name: What messages call it.
        mode: What it sends.
        timeout_s: Longest wait for a frame in seconds.
        words: As in `unpack_rows`.
        on_error: As for every source: an incomplete frame raises, or is skipped and counted.

    Raises:
        SourceError: It grants no buffers. While reading: `SourceTimeout`, and `SourceLost` for a device that is gone.
    """

    def __init__(
        self,
        device: Device,
        name: str,
        mode: Mode,
        *,
        timeout_s: float,
        words: bool = False,
        on_error: str = "raise",
    ) -> None:
        height, width = mode.size
        super().__init__(
            SourceInfo("camera", name, width, height, fps=mode.fps, live=True), on_error=on_error
        )
        self.mode = mode
        self._device = device
        self._timeout_s = timeout_s
        self._words = words
        self._buffers: list[Any] = []
        self._colour = ("colour_ignored",) if PIXELS[mode.code].samples == 2 and not words else ()
        self._sequence: int | None = None
        self._index = 0
        try:
            self._map()
        except BaseException:
            self._release()
            raise

    def _map(self) -> None:
        request = structs.RequestBuffers(count=_BUFFERS, type=structs.CAPTURE, memory=structs.MMAP)
        self._device.call("REQBUFS", request)
        if request.count < 2:
            raise SourceError(f"{self.info.name}: the driver grants {request.count} buffers, 2 are needed")
        for index in range(min(request.count, 32)):
            buffer = structs.Buffer(index=index, type=structs.CAPTURE, memory=structs.MMAP)
            self._device.call("QUERYBUF", buffer)
            self._buffers.append(self._device.map(buffer.length, buffer.m.offset))

    def _read(self) -> Iterator[Frame]:
        # Started here and not on opening: frames that wait in the buffers until the first read would be old.
        for index in range(len(self._buffers)):
            self._give_back(index)
        self._call("STREAMON", ctypes.c_int32(structs.CAPTURE))
        gap: tuple[str, ...] = ()
        while True:
            buffer = self._next()
            host = FrameTime.now(stamp_ns(buffer))
            if self._count(buffer.sequence):
                gap = ("after_gap",)
            index = self._index
            self._index += 1
            damaged = bool(buffer.flags & structs.BUF_ERROR)
            try:
                if damaged and not buffer.bytesused:
                    self.skipped += 1
                    _LOG.warning("%s: frame %d came empty", self.info.name, index)
                    gap = ("after_gap",)
                    continue
                image = self._unpacked(buffer)
            except SourceError as error:
                self._skip(f"frame {index}", SourceError(f"{self.info.name}: frame {index}: {error}"))
                gap = ("after_gap",)
                continue
            finally:
                self._give_back(buffer.index)
            flags = (*self._colour, *(("corrupt",) if damaged else ()), *gap)
            yield Frame(image, index, host, None, flags)
            gap = ()

    def _unpacked(self, buffer: structs.Buffer) -> Any:
        mapped = self._buffers[buffer.index]
        # Some drivers leave bytesused at 0 for raw formats of a fixed size.
        used = min(buffer.bytesused or len(mapped), len(mapped))
        with memoryview(mapped) as view, view[:used] as data:
            return unpack_rows(
                data,
                self.mode.code,
                size=self.mode.size,
                bytes_per_line=self.mode.bytes_per_line,
                words=self._words,
            )

    def _next(self) -> structs.Buffer:
        while True:
            if not self._device.wait(self._timeout_s):
                raise SourceTimeout(
                    f"{self.info.name}: no frame for {self._timeout_s:g} s; is the camera running? "
                    "Plug it in again, or raise timeout_s"
                )
            buffer = structs.Buffer(type=structs.CAPTURE, memory=structs.MMAP)
            try:
                self._device.call("DQBUF", buffer)
            except BlockingIOError:
                continue  # Another event woke us.
            except OSError as error:
                raise self._lost(error) from error
            if buffer.index >= len(self._buffers):
                raise SourceLost(
                    f"{self.info.name}: the driver returned buffer {buffer.index} of {len(self._buffers)}"
                )
            return buffer

    def _count(self, sequence: int) -> bool:
        """Take in the driver's number of a frame; whether frames before it are missing."""
        last, self._sequence = self._sequence, int(sequence)
        # Not from 0 at the start: what came before the first frame was not asked for. Back means a new start.
        lost = 0 if last is None else self._sequence - last - 1
        if lost <= 0 or lost > 1_000_000:
            return bool(lost < -1 or lost > 1_000_000)
        self._index += lost
        self.skipped += lost
        _LOG.warning("%s: the driver dropped %d frames before frame %d", self.info.name, lost, self._index)
        return True

    def _give_back(self, index: int) -> None:
        self._call("QBUF", structs.Buffer(index=index, type=structs.CAPTURE, memory=structs.MMAP))

    def _call(self, request: str, argument: Any) -> None:
        try:
            self._device.call(request, argument)
        except OSError as error:
            raise self._lost(error) from error

    def _lost(self, error: OSError) -> SourceLost:
        gone = "the camera is gone; plug it in and open it again"
        hint = gone if error.errno in _GONE else "open it again"
        return SourceLost(f"{self.info.name}: lost after {self._index} frames ({error.strerror}): {hint}")

    def _release(self) -> None:
        # A device that was pulled out refuses all of this; there is nothing left to give back then.
        with suppress(OSError):
            self._device.call("STREAMOFF", ctypes.c_int32(structs.CAPTURE))
        for mapped in self._buffers:
            with suppress(BufferError):
                mapped.close()
        self._buffers = []
        with suppress(OSError):
            self._device.call("REQBUFS", structs.RequestBuffers(type=structs.CAPTURE, memory=structs.MMAP))
        self._device.close()
