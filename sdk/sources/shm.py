# SPDX-License-Identifier: Apache-2.0
"""`ShmSource`: frames that a camera process puts into shared memory (`shm://NAME`)."""

from __future__ import annotations

import logging
import mmap
import os
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.errors import SourceError, SourceLost, SourceTimeout
from pitviper.sdk.sources import ring
from pitviper.sdk.sources.frame import Frame, FrameTime, Source, SourceInfo
from pitviper.sdk.sources.schemes import OpenOptions

__all__ = ["ShmSource", "open_shm"]

_LOG = logging.getLogger("pitviper.sources")
_STEP_S: Final = 0.001
"""How often the counter is looked at while nothing is there: adds at most this to the age of a frame."""
_ALIVE_EVERY_S: Final = 0.25


def open_shm(text: str, how: OpenOptions) -> Source:
    """The ring that `shm://NAME` names.

    Raises:
        SourceError: There is none, or it cannot be read. InputError: Not a plain name.
    """
    return ShmSource(text.partition("://")[2], timeout_s=how.timeout_s)


class _Slot(NamedTuple):
    pixels: NDArray[Any]
    number: int
    time: FrameTime


class ShmSource(Source):
    """Frames of a ring, from the newest at the first read on, in order and each whole.

    `Frame.index` is the writer's number of the frame. Frames that were overwritten before they were read count in
    `skipped`, and the next one is flagged ``after_gap``. The times are those that the writer took.
    Ends when the writer closes the ring.

    Args:
        name: Name of the ring.
        timeout_s: Longest wait for a frame in seconds.

    Raises:
        SourceError: No such ring. While reading: `SourceTimeout`, and `SourceLost` when the writer was killed.
    """

    def __init__(self, name: str, *, timeout_s: float) -> None:
        path = ring.ring_path(name)
        self._timeout_s = timeout_s
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise SourceError(
                f"shm://{name}: no such ring ({path}); start the camera process first, with RingWriter({name!r}, ...)"
            ) from error
        except OSError as error:
            raise SourceError(f"shm://{name}: cannot be opened ({error.strerror})") from error
        try:
            size = os.fstat(file).st_size
            if size < ring.HEADER_BYTES:
                raise SourceError(f"{path}: {size} bytes are no ring of frames; is its writer just starting?")
            self._map = mmap.mmap(file, size, prot=mmap.PROT_READ)
        finally:
            os.close(file)
        try:
            self._layout = ring.parse_header(self._map[: ring.HEADER_BYTES], size)
        except SourceError as error:
            self._map.close()
            raise SourceError(f"shm://{name}: {error}") from error
        height, width = self._layout.shape
        if self._left_behind():
            # A stream that reconnects would take its last frame for a new one again and again.
            self._map.close()
            raise SourceError(
                f"shm://{name}: its writer (process {self._layout.writer}) is gone; start it again, with replace=True"
            )
        super().__init__(SourceInfo("shm", f"shm://{name}", width, height, fps=self._layout.fps, live=True))

    def _read(self) -> Iterator[Frame]:
        next_one = max(self._written() - 1, 0)
        gap: tuple[str, ...] = ()
        started = time.monotonic()
        while True:
            if not self._wait(next_one, started):
                return
            slot = self._copied(next_one)
            if slot is None:
                # The writer has gone round. Half a ring behind it there is time to copy before it comes again.
                after = max(self._written() - self._layout.slots // 2, next_one + 1)
                # Said aloud once; the count tells the rest.
                level = logging.DEBUG if self.skipped else logging.WARNING
                _LOG.log(level, "%s: %d frames were overwritten unread", self.info.name, after - next_one)
                self.skipped += after - next_one
                next_one, gap = after, ("after_gap",)
                continue
            yield Frame(slot.pixels, slot.number, slot.time, None, gap)
            next_one, gap = next_one + 1, ()
            started = time.monotonic()

    def _left_behind(self) -> bool:
        """Whether the writer was killed. One in another container has no process here, but its frames are young."""
        written = self._written()
        if self._map[ring.CLOSED_AT] or not written or _runs(self._layout.writer):
            return False
        taken_ns = ring.HEAD.unpack_from(self._map, self._layout.at(written - 1))[2]
        return time.monotonic_ns() - int(taken_ns) > _ALIVE_EVERY_S * 1e9

    def _written(self) -> int:
        return int(ring.COUNTER.unpack_from(self._map, ring.COUNT_AT)[0])

    def _wait(self, wanted: int, started: float) -> bool:
        """Until frame number `wanted` is there, since `started`; False at the end of the ring."""
        looked = started
        while True:
            # In this order: what was written before the end is still delivered.
            closed = bool(self._map[ring.CLOSED_AT])
            ring.fence()
            now = time.monotonic()
            if self._written() > wanted and now - started <= self._timeout_s:
                return True
            if closed or self._interrupted:
                return False
            if now - looked > _ALIVE_EVERY_S:
                looked = now
                self._check_writer(wanted)
            if now - started > self._timeout_s:
                raise SourceTimeout(
                    f"{self.info.name}: no whole frame for {self._timeout_s:g} s; does the camera process still write? "
                    "Raise timeout_s for a slower camera, or the slots of the ring for a very fast one"
                )
            time.sleep(_STEP_S)

    def _check_writer(self, wanted: int) -> None:
        if not _runs(self._layout.writer):
            raise SourceLost(
                f"{self.info.name}: its writer (process {self._layout.writer}) is gone after frame {wanted - 1}; "
                "start it and open the ring again"
            )

    def _copied(self, wanted: int) -> _Slot | None:
        """Frame number `wanted`, or None when it was being overwritten."""
        at, whole = self._layout.at(wanted), 2 * wanted + 2
        counter, sensor, host, utc, index = ring.HEAD.unpack_from(self._map, at)
        if counter != whole:
            return None
        ring.fence()
        height, width = self._layout.shape
        seen = np.frombuffer(self._map, self._layout.dtype, height * width, at + ring.HEAD_BYTES)
        pixels = seen.reshape(height, width).astype(self._layout.dtype.newbyteorder("="), copy=True)
        del seen  # The map cannot be closed while an array looks into it.
        ring.fence()
        if ring.COUNTER.unpack_from(self._map, at)[0] != whole:
            return None
        return _Slot(pixels, int(index), FrameTime(None if sensor == -1 else sensor, host, utc))

    def _release(self) -> None:
        self._map.close()


def _runs(process: int) -> bool:
    """Whether a process is there; one of another user, which cannot be signalled, is."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
