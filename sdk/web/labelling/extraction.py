# SPDX-License-Identifier: Apache-2.0
"""Frames of a video or a recording as image files, bit for bit, which training reads and labels can name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pitviper.core.images import IMAGE_SUFFIXES
from pitviper.sdk.errors import InputError, SinkError
from pitviper.sdk.frame_files import name_in_files, require_an_end, write_frame
from pitviper.sdk.sources import open_source

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
    require_an_end(spec)
    if folder.is_dir() and any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir()):
        raise InputError(
            f"{folder} holds images already; to go on with them: pitviper label {folder}, without --frames"
        )
    written = 0
    with open_source(spec) as source:
        if source.info.kind == "synthetic" and source.info.count is None:
            raise InputError(f"{spec} never ends; say how many frames: frames=N")
        for frame in source:
            if frame.index % every:
                continue
            try:
                name = name_in_files(spec, source.info.kind, frame.index, frame.name)
                write_frame(frame, folder, name)
            except SinkError as error:
                raise SinkError(f"{error}; {written} frames were written before it") from error
            written += 1
            step()
    return written
