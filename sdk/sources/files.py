# SPDX-License-Identifier: Apache-2.0
"""Frames from image files: one file, a list, a folder in natural order, or a pattern."""

from __future__ import annotations

import glob
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

from pitviper.core.images import IMAGE_SUFFIXES, ImageError
from pitviper.sdk.errors import InputError, SourceError
from pitviper.sdk.sources.arrays import from_array_file
from pitviper.sdk.sources.frame import SKIP_HINT, Frame, FrameTime, Source, SourceInfo
from pitviper.sdk.sources.pictures import PictureReader, is_lossy
from pitviper.sdk.sources.schemes import OpenOptions

__all__ = ["ImageFiles", "find_images", "natural_key", "open_path"]

_LOG = logging.getLogger("pitviper.sources")


def open_path(text: str, how: OpenOptions) -> Source:
    """A video, an image, an array, a folder of images or a pattern, by its path or as file://.

    Raises:
        SourceError: There is none, or it cannot be read.
        InputError: An option that it does not take.
    """
    if text.lower().startswith("file://"):
        text = "/" + unquote(text[7:].partition("/")[2])
    path = Path(text)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise SourceError(
            f"{text}: cannot be looked at ({why}); check the path and who may read it"
        ) from error
    if path.is_dir() or (not path.exists() and any(sign in text for sign in "*?[")):
        return ImageFiles(find_images(text), name=text, on_error=how.on_error, options=how.options)
    if not path.exists():
        near = next((parent for parent in path.parents if parent.exists()), Path("."))
        raise SourceError(f"{text}: no such file or folder (what exists of it: {near}); check the path")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFiles([path], name=text, on_error=how.on_error, options=how.options)
    if how.options:
        raise InputError(
            f"{text}: options ({', '.join(how.options)}) are for image files, cameras and streams; leave them out here"
        )
    if path.suffix.lower() == ".npy":
        return from_array_file(path, text, on_error=how.on_error)
    from pitviper.sdk.sources.video import VideoFile

    return VideoFile(path, on_error=how.on_error)


def natural_key(path: str | os.PathLike[str]) -> tuple[tuple[int, str, int], ...]:
    """Sorting key that counts: f2 before f10. Text compares without case, digits as numbers."""
    parts = re.split(r"(\d+)", os.fspath(path).casefold())
    key = tuple((1, "", int(part)) if part.isdecimal() else (0, part, 0) for part in parts if part)
    return key


def find_images(spec: str) -> list[Path]:
    """The image files of a folder or of a pattern with wildcards, in natural order.

    Raises:
        SourceError: There are none, or the folder cannot be listed.
    """
    folder = Path(spec)
    try:
        found = (
            list(folder.iterdir())
            if folder.is_dir()
            else [Path(hit) for hit in glob.glob(spec, recursive=True)]
        )
    except OSError as error:
        raise SourceError(f"{spec}: cannot be listed ({error.strerror}); check its permissions") from error
    images = [path for path in found if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()]
    kinds = ", ".join(sorted(IMAGE_SUFFIXES))
    if not images and folder.is_dir():
        from pitviper.sdk.record.recorder import INDEX

        if (folder / INDEX).is_file():
            raise SourceError(f"{spec}: a recording and no folder of images; open it as replay://{spec}")
        raise SourceError(
            f"{spec}: a folder of {len(found)} entries without an image; expected {kinds}. "
            "Subfolders are not searched: name the one that holds the frames"
        )
    if not images:
        raise SourceError(
            f"{spec}: the pattern matches {len(found)} files, none of them an image ({kinds}); "
            "correct it, or open a video by its own path"
        )
    if len(images) < len(found):
        _LOG.info(
            "%s: %d of %d entries are no images and are left out", spec, len(found) - len(images), len(found)
        )
    return sorted(images, key=natural_key)


class ImageFiles(Source):
    """Image files as a sequence, each in its native depth.

    Args:
        paths: Files in the order to read them.
        name: What messages call the source.
        on_error: `"raise"` ends at a file that cannot be read; `"skip"` leaves it out, counts it in `skipped`,
            logs it and flags the next frame `after_gap`.
        options: As for `PictureReader`.

    Raises:
        InputError: Unknown options.
        SourceError: While reading: a file is missing, broken or holds no single-channel frame.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        name: str,
        on_error: str = "raise",
        options: Mapping[str, str] | None = None,
    ) -> None:
        info = SourceInfo("images", name, count=len(paths), lossy=any(is_lossy(path) for path in paths))
        super().__init__(info, on_error=on_error, files=tuple(paths))
        self._pictures = PictureReader(name, options or {})

    def _read(self) -> Iterator[Frame]:
        gap: tuple[str, ...] = ()
        for index, path in enumerate(self.files):
            try:
                image, flags = self._pictures.read(path)
            except ImageError as error:
                done = f"; {index - self.skipped} of {len(self.files)} files were read before it"
                hint = f"; {SKIP_HINT}" if len(self.files) > 1 and self._on_error != "skip" else ""
                broken = SourceError(f"{error}{done if index else ''}{hint}")
                broken.__cause__ = error
                self._skip(str(path), broken)
                gap = ("after_gap",)
                continue
            yield Frame(image, index, FrameTime.now(), path.name, flags + gap)
            gap = ()
