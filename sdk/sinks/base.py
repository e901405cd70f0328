# SPDX-License-Identifier: Apache-2.0
"""What every sink keeps to, and the file that stays valid whatever happens."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pitviper.sdk.errors import SinkError

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections
    from pitviper.sdk.sources import Frame

__all__ = ["GrowingFile", "Sink", "sink_error"]


class Sink(Protocol):
    """Takes each frame with its result.

    An attribute ``when_slow`` may say what a live stream does when the sink cannot keep up: ``drop`` (the oldest that
    wait, also without the attribute), ``wait``, or ``own`` for a sink that never keeps a stream waiting.
    """

    def write(self, frame: Frame, detections: Detections) -> None:
        """Write one frame. Raises SinkError; what was written before stays valid."""

    def close(self) -> None:
        """Finish the output. Twice is fine. Raises SinkError when it cannot be finished."""


_FIXES = {
    errno.ENOSPC: "free some space or write to another disk; what was written before is valid",
    errno.EDQUOT: "the quota is used up; free some space; what was written before is valid",
    errno.EFBIG: "it has reached the largest size allowed; what was written before is valid",
    errno.EACCES: "choose a folder that this user may write to",
    errno.EPERM: "choose a folder that this user may write to",
    errno.EROFS: "the disk is mounted read-only; write to another one",
    errno.ENOENT: "its folder does not exist; make it first",
    errno.ENOTDIR: "a part of the path is a file, not a folder; correct the path",
    errno.EISDIR: "it is an existing folder; name a file in it",
    errno.EEXIST: "it exists and is no folder; choose another name",
    errno.EPIPE: "the reader of the output has gone",
}


def sink_error(path: str | os.PathLike[str], error: Exception) -> SinkError:
    """A SinkError that names the output, the reason and the fix, with the errno of its cause."""
    reason = getattr(error, "strerror", None) or str(error)
    number = getattr(error, "errno", None)
    fix = _FIXES.get(number or 0, "check the disk and the path")
    made = SinkError(f"{os.fspath(path)}: cannot be written ({reason}); {fix}")
    made.errno = number
    return made


class GrowingFile:
    """A file that is complete after every `append`: each is one write, and a failed one is taken back.

    What an existing file holds is replaced with the first `append`, or by `close`: until then `abandon` leaves it as
    it was, so that a run that never began destroys nothing. A new or empty file is begun at once.

    Args:
        path: File to make; an existing file is replaced.
        head: What it starts with.
        tail: What it ends with after every append, such as the bracket that closes a JSON list.

    Raises:
        SinkError: It cannot be made.
    """

    def __init__(self, path: str | os.PathLike[str], *, head: bytes = b"", tail: bytes = b"") -> None:
        self.path = Path(path)
        self._head = head
        self._tail = tail
        self._end = 0
        self._begun = False
        self._made = not self.path.exists()
        try:
            self._file: int | None = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            old = os.fstat(self._file).st_size > 0
        except OSError as error:
            raise sink_error(self.path, error) from error
        try:
            if not old:
                self._begin(self._file)
        except SinkError:
            self.close()
            raise

    def append(self, data: bytes) -> None:
        """Add data before the tail. Raises SinkError; the file is then as it was before."""
        if self._file is None:
            raise SinkError(f"{self.path}: already closed; open a new sink")
        self._begin(self._file)
        self._add(self._file, data)

    def _begin(self, file: int) -> None:
        """Once: empty the file and write the head, so that it is valid before the first `append`, too."""
        if self._begun:
            return
        with suppress(OSError):  # A pipe or a device holds nothing old.
            os.ftruncate(file, 0)
        self._begun = True
        if self._head or self._tail:
            self._add(file, self._head)

    def _add(self, file: int, data: bytes) -> None:
        try:
            self._put(file, data + self._tail, self._end)
        except OSError as error:
            self._restore(file)
            raise sink_error(self.path, error) from error
        self._end += len(data)

    @staticmethod
    def _put(file: int, data: bytes, at: int) -> None:
        try:
            os.lseek(file, at, os.SEEK_SET)
        except OSError as error:
            if error.errno != errno.ESPIPE:
                raise
        while data:
            # A full disk may take a part of the data first and fail on the rest.
            data = data[os.write(file, data) :]

    def _restore(self, file: int) -> None:
        try:
            os.ftruncate(file, self._end)
            if self._end:
                self._put(file, self._tail, self._end)
        except OSError:
            return  # A pipe or a device has no earlier state; the error on its way says what happened.

    def close(self) -> None:
        """Close the file. Raises SinkError when the system could not keep what was written."""
        file, self._file = self._file, None
        if file is None:
            return
        try:
            try:
                self._begin(file)
            finally:
                os.close(file)
        except OSError as error:
            raise sink_error(self.path, error) from error

    def abandon(self) -> None:
        """Close the file because nothing will be written: an older one stays as it was, a new empty one is removed."""
        file, self._file = self._file, None
        if file is None:
            return
        os.close(file)
        if self._made and self._end == len(self._head) and self.path.is_file():
            self.path.unlink()
