# SPDX-License-Identifier: Apache-2.0
"""Image files of a source: their pixels, and the flags that their kind deserves."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pitviper.core.images import ColourError, read_picture
from pitviper.sdk.errors import InputError

__all__ = ["PictureReader", "is_lossy"]

_LOG = logging.getLogger("pitviper.sources")


class PictureReader:
    """Reads image files in their native depth.

    Args:
        name: What messages call the source.
        options: ``colour``: ``refuse`` (the default) or ``luma``, which takes the luma of colour pictures, says so
            once in the log and flags their frames `colour_ignored`.

    Raises:
        InputError: Another option or value.
    """

    def __init__(self, name: str, options: Mapping[str, str]) -> None:
        unknown = sorted(set(options) - {"colour"})
        if unknown:
            raise InputError(f"{name}: image files take no option {', '.join(unknown)}; they take colour")
        self._name = name
        self._colour = options.get("colour", "refuse")
        if self._colour not in ("refuse", "luma"):
            raise InputError(f"{name}: the option colour is refuse or luma, got {self._colour!r}")
        self._said = False

    def read(self, path: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
        """Pixels [H, W] and flags: `lossy` and `colour_ignored`, as they apply.

        Raises:
            ImageError: It cannot be read as a frame.
        """
        try:
            picture = read_picture(path, colour=self._colour)
        except ColourError as error:
            raise ColourError(
                f'{error}. open_source(..., options={{"colour": "luma"}}) and --source-option colour=luma do so '
                "for all files of a source"
            ) from None
        flags = ("lossy",) if is_lossy(path) else ()
        if not picture.colour_ignored:
            return picture.pixels, flags
        if not self._said:
            self._said = True
            _LOG.warning("%s: colour pictures; only their luma is used", self._name)
        return picture.pixels, (*flags, "colour_ignored")


def is_lossy(path: Path) -> bool:
    """Whether its codec has changed the values, by the suffix."""
    return path.suffix.lower() in {".jpg", ".jpeg"}
