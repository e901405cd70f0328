# SPDX-License-Identifier: Apache-2.0
"""The pixels of a recording: files of frames back to back, or lossless video (FFV1 in Matroska).

A file holds frames of one size and type; a change of either begins the next one.
"""

from __future__ import annotations

import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.errors import SinkError, SourceError, SourceLost
from pitviper.sdk.record.entries import Entry
from pitviper.sdk.sinks.base import GrowingFile, sink_error

__all__ = ["Reader", "Writer", "file_of", "open_reader", "open_writer", "pixel_crc", "pixel_format"]

_SUFFIX: Final = {"raw": "raw", "ffv1": "mkv"}
_FORMATS: Final = {"uint8": "gray", "uint16": "gray16le"}
LARGEST_BYTES: Final = 1 << 31
"""Pixels after which the next file begins: some file systems and players end at 4 GiB."""


def file_of(folder: Path, number: int, encoding: str) -> Path:
    """The file of a number in a recording's folder."""
    return folder / f"frames-{number:04d}.{_SUFFIX[encoding]}"


def pixel_crc(image: NDArray[Any]) -> int:
    """CRC-32 of a frame's pixels in C order, little endian."""
    little = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<"))
    return zlib.crc32(little.view(np.uint8).reshape(-1).data)


def pixel_format(dtype: np.dtype[Any]) -> str:
    """FFmpeg's name of a type that FFV1 holds without loss.

    Raises:
        SinkError: It holds no such frames.
    """
    if dtype.name not in _FORMATS:
        raise SinkError(
            f"ffv1 keeps uint8 and uint16 frames, got {dtype}; record as raw (--record-format raw)"
        )
    return _FORMATS[dtype.name]


class Writer(Protocol):
    """One file that is being written."""

    def add(self, image: NDArray[Any]) -> int:
        """Write a frame and say where it lies (`Entry.at`). Raises SinkError; what was written stays whole."""

    def close(self) -> None:
        """Finish the file. Twice is fine. Raises SinkError."""


class Reader(Protocol):
    """One file that is being read."""

    def get(self, entry: Entry) -> NDArray[Any]:
        """The frame of an entry; entries come in the order in which they were written.

        Raises:
            SourceLost: The file ends before it.
            SourceError: It cannot be read.
        """

    def close(self) -> None:
        """Let go of the file. Twice is fine."""


def open_writer(path: Path, encoding: str, image: NDArray[Any], fps: float | None) -> Writer:
    """A new file for frames like `image`. Raises SinkError when it cannot be made."""
    return _RawWriter(path) if encoding == "raw" else _VideoWriter(path, image, fps)


def open_reader(path: Path, encoding: str) -> Reader:
    """A file to read from. Raises SourceError when it cannot be opened."""
    return _RawReader(path) if encoding == "raw" else _VideoReader(path)


class _RawWriter:
    def __init__(self, path: Path) -> None:
        self._file = GrowingFile(path)
        self._end = 0

    def add(self, image: NDArray[Any]) -> int:
        at = self._end
        data = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("<")).tobytes()
        self._file.append(data)
        self._end += len(data)
        return at

    def close(self) -> None:
        self._file.close()


class _VideoWriter:
    """Every picture is a key frame and begins a cluster, so a file that is cut off loses its last two at most."""

    def __init__(self, path: Path, image: NDArray[Any], fps: float | None) -> None:
        import av

        self._path = path
        form = pixel_format(image.dtype)
        self._count = 0
        try:
            self._container: Any = av.open(
                str(path), "w", format="matroska", options={"flush_packets": "1", "cluster_time_limit": "1"}
            )
            options = {"level": "3", "slicecrc": "1", "slices": "4"}
            self._stream = self._container.add_stream(
                "ffv1", rate=max(1, round(fps or 25.0)), options=options
            )
        except (av.FFmpegError, OSError) as error:
            raise sink_error(path, error) from error
        self._stream.height, self._stream.width = image.shape
        self._stream.pix_fmt = form
        self._stream.codec_context.gop_size = 1
        self._form = form

    def add(self, image: NDArray[Any]) -> int:
        import av

        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=self._form)
        picture.pts = self._count
        try:
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        except (av.FFmpegError, OSError) as error:
            with suppress(Exception):
                self._container.close()
            self._container = None
            raise sink_error(self._path, error) from error
        self._count += 1
        return self._count - 1

    def close(self) -> None:
        import av

        container, self._container = self._container, None
        if container is None:
            return
        try:
            try:
                for packet in self._stream.encode(None):
                    container.mux(packet)
            finally:
                container.close()
        except (av.FFmpegError, OSError) as error:
            raise sink_error(self._path, error) from error


class _RawReader:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = open(path, "rb")  # noqa: SIM115 - closed by `close`
        except OSError as error:
            raise SourceError(f"{path}: cannot be read ({error.strerror}); copy the whole folder") from error

    def get(self, entry: Entry) -> NDArray[Any]:
        dtype = np.dtype(entry.dtype).newbyteorder("<")
        needed = entry.shape[0] * entry.shape[1] * dtype.itemsize
        try:
            self._file.seek(entry.at)
            data = self._file.read(needed)
        except (OSError, OverflowError, MemoryError) as error:
            raise SourceError(f"{self._path}: frame {entry.index} cannot be read ({error})") from error
        if len(data) < needed:
            raise SourceLost(
                f"{self._path}: ends before frame {entry.index}; it was cut off, or not copied whole"
            )
        pixels = np.frombuffer(data, dtype).reshape(entry.shape)
        return pixels.astype(dtype.newbyteorder("="), copy=False)

    def close(self) -> None:
        self._file.close()


class _VideoReader:
    def __init__(self, path: Path) -> None:
        import av

        self._path = path
        self._next = 0
        try:
            self._container: Any = av.open(str(path))
            self._pictures = self._container.decode(video=0)
        except (av.FFmpegError, OSError, IndexError) as error:
            raise SourceLost(
                f"{path}: cannot be read as video ({error}); it was cut off, or not copied"
            ) from error

    def get(self, entry: Entry) -> NDArray[Any]:
        import av

        while True:
            try:
                picture = next(self._pictures)
            except (StopIteration, av.FFmpegError, OSError) as error:
                raise SourceLost(
                    f"{self._path}: ends before frame {entry.index}; it was cut off, or not copied whole"
                ) from error
            self._next += 1
            if self._next > entry.at:
                break
        image: NDArray[Any] = picture.to_ndarray()
        if image.shape != entry.shape or image.dtype.name != entry.dtype:
            raise SourceError(
                f"{self._path}: frame {entry.index} is {image.dtype} {image.shape}, the index says "
                f"{entry.dtype} {entry.shape}"
            )
        return image

    def close(self) -> None:
        self._container.close()
