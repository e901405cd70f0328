# SPDX-License-Identifier: Apache-2.0
"""`WatchedFolder`: images that other programs put into a folder, each when it is complete (`watch:FOLDER`).

inotify(7) says when a file was renamed into the folder, or closed after it was written. Nothing is guessed from sizes
or times. A network disk that another machine writes to reports nothing: there no watching is possible.
"""

from __future__ import annotations

import ctypes
import logging
import os
import select
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

from pitviper.core.images import IMAGE_SUFFIXES, ImageError
from pitviper.sdk.errors import SourceError, SourceLost, SourceTimeout
from pitviper.sdk.sources.frame import SKIP_HINT, Frame, FrameTime, Source, SourceInfo
from pitviper.sdk.sources.pictures import PictureReader
from pitviper.sdk.sources.schemes import OpenOptions

__all__ = ["Event", "WatchedFolder", "open_watch", "parse_events"]

_LOG = logging.getLogger("pitviper.sources")
# <sys/inotify.h>
CLOSE_WRITE: Final = 0x8
MOVED_TO: Final = 0x80
DELETE_SELF: Final = 0x400
MOVE_SELF: Final = 0x800
UNMOUNT: Final = 0x2000
OVERFLOW: Final = 0x4000
IGNORED: Final = 0x8000
ONLY_FOLDERS: Final = 0x01000000
_SLICE_S: Final = 0.25
"""How soon a wait hears that it was interrupted."""
_EVENT: Final = struct.Struct("iIII")
_GONE: Final = DELETE_SELF | MOVE_SELF | UNMOUNT | IGNORED


class Event(NamedTuple):
    """One entry of what the kernel reports: its bits, and the name of the file (empty for the folder itself)."""

    mask: int
    name: str


def parse_events(data: bytes) -> list[Event]:
    """The entries of one read of an inotify file.

    Raises:
        SourceError: Not a whole number of entries.
    """
    events, at = [], 0
    while at < len(data):
        if at + _EVENT.size > len(data):
            raise SourceError(f"{len(data)} bytes of inotify end within an entry")
        _, mask, _, length = _EVENT.unpack_from(data, at)
        at += _EVENT.size
        if at + length > len(data):
            raise SourceError(f"{len(data)} bytes of inotify end within a name of {length} bytes")
        name = data[at : at + length].split(b"\0", 1)[0]
        events.append(Event(mask, os.fsdecode(name)))
        at += length
    return events


def open_watch(text: str, how: OpenOptions) -> Source:
    """The folder that `watch:FOLDER` (or `watch://FOLDER`) names.

    Raises:
        SourceError: It is no folder, or cannot be watched.
        InputError: An option that it does not take.
    """
    folder = Path(unquote(text.partition(":")[2].removeprefix("//")))
    return WatchedFolder(folder, timeout_s=how.timeout_s, on_error=how.on_error, options=how.options)


class WatchedFolder(Source):
    """Images that appear in a folder after it was opened, in the order in which they were completed.

    A file is complete when it is renamed into the folder, which is the way to go, or closed after writing. A name that
    is written again is a new frame. Names that begin with a dot and other kinds of file are passed over.

    Args:
        folder: The folder; subfolders are not watched.
        timeout_s: Longest wait for an image in seconds; infinity waits for ever.
        on_error, options: As for `ImageFiles`.

    Raises:
        SourceError: No folder, or it cannot be watched. While reading: `SourceTimeout`, and `SourceLost` when the
            folder is gone.
    """

    def __init__(
        self,
        folder: Path,
        *,
        timeout_s: float,
        on_error: str = "raise",
        options: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(SourceInfo("watch", f"watch:{folder}", live=True), on_error=on_error)
        if not folder.is_dir():
            raise SourceError(f"watch:{folder}: no such folder; make it first, or correct the path")
        self._folder = folder
        self._pictures = PictureReader(self.info.name, options or {})
        self._timeout_s = timeout_s
        libc = ctypes.CDLL(None, use_errno=True)
        self._inotify: int = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        mask = CLOSE_WRITE | MOVED_TO | DELETE_SELF | MOVE_SELF | ONLY_FOLDERS
        watched = -1
        if self._inotify >= 0:
            watched = libc.inotify_add_watch(self._inotify, os.fsencode(folder), ctypes.c_uint32(mask))
        if watched < 0:
            reason = os.strerror(ctypes.get_errno())
            if self._inotify >= 0:
                os.close(self._inotify)
            raise SourceError(
                f"watch:{folder}: cannot be watched ({reason}); check its permissions, "
                "and fs.inotify.max_user_instances"
            )
        # From its start: a thread that comes late to its first wait must not count as a silent camera.
        self._alive_at = time.monotonic()

    def _read(self) -> Iterator[Frame]:
        index = 0
        gap: tuple[str, ...] = ()
        while not self._interrupted:
            for event in self._events(index):
                if event.mask & OVERFLOW:
                    # How many is not known, so this is said and flagged, and cannot be counted.
                    _LOG.warning("%s: files came too fast; the kernel dropped some", self.info.name)
                    gap = ("after_gap",)
                if event.mask & _GONE:
                    raise SourceLost(
                        f"{self.info.name}: the folder is gone after {index} images; open it again"
                    )
                name = event.name
                if not name or name.startswith(".") or Path(name).suffix.lower() not in IMAGE_SUFFIXES:
                    continue
                try:
                    image, flags = self._pictures.read(self._folder / name)
                except ImageError as error:
                    hint = "" if self._on_error == "skip" else f"; {SKIP_HINT}"
                    self._skip(name, SourceError(f"{error}{hint}"))
                    index, gap = index + 1, ("after_gap",)
                    continue
                yield Frame(image, index, FrameTime.now(), name, flags + gap)
                index, gap = index + 1, ()

    def _events(self, index: int) -> list[Event]:
        end = time.monotonic() + self._timeout_s
        while True:
            left = min(end - time.monotonic(), _SLICE_S)
            if select.select([self._inotify], [], [], max(left, 0.0))[0]:
                return parse_events(os.read(self._inotify, 1 << 16))
            if self._interrupted:
                return []
            # It waits on purpose: silence is no sign of a fault here, and its own limit ends it.
            self._alive_at = time.monotonic()
            if time.monotonic() >= end:
                raise SourceTimeout(
                    f"{self.info.name}: no new image for {self._timeout_s:g} s after {index}; is something writing to "
                    "it? timeout_s=inf (--timeout inf) waits for ever"
                )

    def _release(self) -> None:
        os.close(self._inotify)
