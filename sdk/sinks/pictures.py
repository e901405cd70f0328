# SPDX-License-Identifier: Apache-2.0
"""Results as pictures: one for each frame, with its targets marked or as a mask."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pitviper.sdk.draw import ToneMap, annotate
from pitviper.sdk.errors import SinkError
from pitviper.sdk.sinks.base import sink_error
from pitviper.sdk.trails import Trails

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections
    from pitviper.sdk.sources import Frame

__all__ = ["Masks", "Pictures"]


class _PngFolder:
    """A folder of PNG files, one a frame; each is there whole or not at all.

    A file is named like its frame's, or by the frame's index in six digits. The folder is made; one that already
    holds PNG files is refused, because old and new ones could not be told apart.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self._closed = False
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            old = sum(1 for path in self._folder.iterdir() if path.suffix.lower() == ".png")
        except OSError as error:
            raise sink_error(self._folder, error) from error
        if old:
            raise SinkError(f"{self._folder}: already holds {old} PNG files; empty it, or name a new folder")
        if not os.access(self._folder, os.W_OK):
            raise SinkError(f"{self._folder}: cannot be written; choose a folder that this user may write to")

    def _put(self, frame: Frame, pixels: NDArray[Any]) -> None:
        if self._closed:
            raise SinkError(f"{self._folder}: already closed; open a new sink")
        packed = io.BytesIO()
        Image.fromarray(pixels).save(packed, "PNG", compress_level=1)
        stem = Path(frame.name).stem if frame.name else f"{frame.index:06d}"
        path = self._folder / f"{stem}.png"
        if path.exists():
            # Two frames of the same name, from different folders or with different suffixes.
            path = self._folder / f"{stem}-{frame.index:06d}.png"
        try:
            with open(path, "xb") as file:
                file.write(packed.getbuffer())
        except OSError as error:
            if not isinstance(error, FileExistsError):
                with suppress(OSError):
                    path.unlink()
            raise sink_error(path, error) from error
        except BaseException:
            with suppress(OSError):
                path.unlink()
            raise

    def close(self) -> None:
        """Nothing is left to finish: each file was closed when it was written."""
        self._closed = True


class Masks(_PngFolder):
    """A folder of 8-bit PNG masks, 0 and 255, in the size of the frame.

    A mask is named like its frame's file, or by the frame's index in six digits. The folder is made; one that
    already holds PNG files is refused, because old and new masks could not be told apart.

    Raises:
        SinkError: The folder cannot be made or is not empty of PNG files.
    """

    def write(self, frame: Frame, detections: Detections) -> None:
        """Write the mask of a frame; a file is there whole or not at all."""
        self._put(frame, detections.mask.astype(np.uint8) * np.uint8(255))


class Pictures(_PngFolder):
    """A folder of RGB PNG pictures of the frames with their targets marked (see `sdk.annotate`), of any sizes.

    Named and refused like `Masks`.

    Args:
        folder: To write to.
        scale: Whole factor of enlargement; None enlarges frames narrower than 640 pixels.

    Raises:
        SinkError: The folder cannot be made or is not empty of PNG files.
    """

    def __init__(self, folder: str | os.PathLike[str], *, scale: int | None = None) -> None:
        super().__init__(folder)
        self._scale = scale
        self._shape: tuple[int, int] | None = None
        self._tone, self._trails = ToneMap(), Trails()

    def write(self, frame: Frame, detections: Detections) -> None:
        """Draw and write one frame."""
        single = frame.name is not None and detections.tracks is None
        if single or detections.shape != self._shape:
            # Another scene: neither the range of gray nor the trails of the picture before.
            self._tone, self._trails = ToneMap(), Trails()
        self._shape = detections.shape
        picture = annotate(frame, detections, tone=self._tone, scale=self._scale, trails=self._trails)
        self._put(frame, picture)
