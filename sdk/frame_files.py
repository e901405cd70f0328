# SPDX-License-Identifier: Apache-2.0
"""Frames of a source as image files, bit for bit, under the names by which labels know them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pitviper.core.points import frame_name
from pitviper.sdk.errors import InputError, SinkError
from pitviper.sdk.sources.live import redact
from pitviper.sdk.sources.schemes import find_scheme

if TYPE_CHECKING:
    from pitviper.sdk.sources import Frame

__all__ = ["name_in_files", "require_an_end", "write_frame"]


def require_an_end(spec: str) -> None:
    """Refuse a live source, which cannot be gone back to.

    Raises:
        InputError: It is one.
    """
    if find_scheme(spec).live:
        raise InputError(
            f"{redact(spec)} is live; record it first (pitviper detect SOURCE --record DIR), then take replay://DIR"
        )


def name_in_files(spec: str, kind: str, index: int, name: str | None) -> str:
    """Name of a frame in files and labels: that of its own file, else the source's with the frame's number.

    Args:
        spec: As the source was opened.
        kind: Of the source.
        index: Number of the frame.
        name: Name of the frame in the source.
    """
    if kind == "images" and name:
        return frame_name(name)
    stem = Path(spec.partition("?")[0].rstrip("/")).stem or "frame"
    return f"{stem}-{index:06d}"


def write_frame(frame: Frame, folder: Path, name: str) -> Path:
    """Write a frame as PNG of 8 or 16 bits, or as TIFF of floats, and return its path.

    Raises:
        SinkError: It cannot be written, and no part of it stays; or there is a file of that name.
    """
    deep = frame.image.dtype in (np.uint8, np.uint16)
    path = folder / f"{name}.{'png' if deep else 'tif'}"
    if path.exists():
        raise SinkError(
            f"{path} cannot be written: two frames are called {name!r}; rename one of their files"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(frame.image if deep else frame.image.astype(np.float32)).save(path)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise SinkError(f"{path} cannot be written ({error.strerror or error})") from error
    return path
