# SPDX-License-Identifier: Apache-2.0
"""`Recording`: a recorded folder, opened: its header, its entries, its frames."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from pitviper.sdk.errors import SourceError
from pitviper.sdk.record import segments
from pitviper.sdk.record.entries import Entry, Header, parse_line
from pitviper.sdk.record.recorder import INDEX

__all__ = ["Recording"]

_LOG = logging.getLogger("pitviper.record")
_LONGEST_LINE: Final = 1 << 24


class Recording:
    """A recording on disk. The frames of several iterations are read anew each time.

    Attributes:
        folder: Where it lies.
        header: Its first line.
        count: Complete lines of frames in the index.

    Args:
        folder: As given to `Recorder`.

    Raises:
        SourceError: It is no recording.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        path = self.folder / INDEX
        try:
            with open(path, "rb") as file:
                line = file.readline(_LONGEST_LINE)
                self.count = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
        except OSError as error:
            raise SourceError(
                f"{self.folder}: no recording ({INDEX}: {error.strerror}); name a folder that --record has written"
            ) from error
        if not line.endswith(b"\n"):
            raise SourceError(
                f"{path}: its first line is not complete, so nothing was recorded; record again"
            )
        try:
            self.header: Header = parse_line(line, first=True)
        except SourceError as error:
            raise SourceError(f"{path}, line 1: {error}") from error

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the recording, which no output may replace."""
        return tuple(sorted(each for each in self.folder.iterdir() if each.is_file()))

    def entries(self) -> Iterator[Entry | SourceError]:
        """The entries in order; a line that is none comes as its error. An incomplete last line is left out.

        Raises:
            SourceError: The index cannot be read.
        """
        path = self.folder / INDEX
        try:
            with open(path, "rb") as file:
                file.readline(_LONGEST_LINE)
                for number in range(2, self.count + 3):
                    line = file.readline(_LONGEST_LINE)
                    if not line:
                        return
                    if not line.endswith(b"\n"):
                        _LOG.warning("%s: line %d was cut off and is left out", path, number)
                        return
                    try:
                        yield parse_line(line, first=False)
                    except SourceError as error:
                        yield SourceError(f"{path}, line {number}: {error}")
        except OSError as error:
            raise SourceError(f"{path}: cannot be read ({error.strerror})") from error

    def frames(self) -> Frames:
        """Something that hands out the frame of each entry, in their order; to be closed."""
        return Frames(self.folder, self.header.encoding)


class Frames:
    """Reads frames of entries, with one file open at a time."""

    def __init__(self, folder: Path, encoding: str) -> None:
        self._folder = folder
        self._encoding = encoding
        self._reader: segments.Reader | None = None
        self._file = -1

    def get(self, entry: Entry) -> NDArray[Any]:
        """The pixels of an entry [H, W], checked.

        Raises:
            SourceLost: The file ends before it. SourceError: It is damaged.
        """
        if entry.file != self._file or self._reader is None:
            self.close()
            self._file = entry.file
            self._reader = segments.open_reader(
                segments.file_of(self._folder, entry.file, self._encoding), self._encoding
            )
        image = self._reader.get(entry)
        if segments.pixel_crc(image) != entry.crc32:
            raise SourceError(
                f"{self._folder}: the pixels of frame {entry.index} are not those that were recorded (CRC-32); "
                "the disk or a copy has damaged them"
            )
        return image

    def close(self) -> None:
        """Let go of the file. Twice is fine."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()
