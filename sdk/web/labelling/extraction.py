# SPDX-License-Identifier: Apache-2.0
"""Frames of a video or a recording as image files, bit for bit, which training reads and labels can name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from pitviper.core.images import IMAGE_SUFFIXES
from pitviper.sdk.errors import InputError, SinkError
from pitviper.sdk.sources import open_source
from pitviper.sdk.sources.live import redact
from pitviper.sdk.sources.schemes import find_scheme

__all__ = ["extract_frames"]


def extract_frames(
    spec: str, folder: Path, *, every: int = 1, step: Callable[[], object] = lambda: None
) -> int:
    """Write frames to a folder: PNG of 8 or 16 bits, TIFF for floats.

    Args:
        spec: A source with an end, as in `open_source`.
        folder: Made where it is missing; it must hold no image.
        every: Take the frames 0, N, 2 N and so on.
        step: Called for each frame that was written.

    Returns:
        How many were written.

    Raises:
        InputError: The source is live or has no end, or the folder holds images.
        SourceError: The source cannot be read. SinkError: The folder cannot be written.
    """
    if find_scheme(spec).live:
        raise InputError(
            f"{redact(spec)} is live; record it first (pitviper detect SOURCE --record DIR), then label replay://DIR"
        )
    if folder.is_dir() and any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir()):
        raise InputError(
            f"{folder} holds images already; to go on with them: pitviper label {folder}, without --frames"
        )
    written = 0
    with open_source(spec) as source:
        if source.info.kind == "synthetic" and source.info.count is None:
            raise InputError(f"{spec} never ends; say how many frames: frames=N")
        stem = Path(spec.partition("?")[0].rstrip("/")).stem or "frame"
        for frame in source:
            if frame.index % every:
                continue
            deep = frame.image.dtype in (np.uint8, np.uint16)
            path = folder / f"{stem}-{frame.index:06d}.{'png' if deep else 'tif'}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(frame.image if deep else frame.image.astype(np.float32)).save(path)
            except OSError as error:
                path.unlink(missing_ok=True)
                raise SinkError(
                    f"{path} cannot be written ({error.strerror or error}); {written} frames were written before it"
                ) from error
            written += 1
            step()
    return written
