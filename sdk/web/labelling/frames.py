# SPDX-License-Identifier: Apache-2.0
"""The frames that are labelled: image files in any order, and pictures of them for human eyes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pitviper.core.images import IMAGE_SUFFIXES, ImageError, read_frame
from pitviper.core.points import frame_name
from pitviper.kernels.robust import robust_deviation
from pitviper.sdk.draw import ToneMap
from pitviper.sdk.errors import InputError, SourceError
from pitviper.sdk.sources.files import find_images
from pitviper.sdk.sources.live import redact
from pitviper.sdk.sources.schemes import find_scheme

__all__ = ["VIEWS", "FrameFolder"]

VIEWS: Final = ("whole", "detail")
_DETAIL_PX: Final = 15
_DETAIL_RANGE: Final = (-4.0, 12.0)


class FrameFolder:
    """Image files, each to be read whenever it is asked for.

    Args:
        spec: A folder, a pattern with wildcards or one image.

    Attributes:
        name: As given.
        paths: In natural order.
        names: By which labels know the frames.

    Raises:
        SourceError: There is no image, two have one name, or a name cannot be written to a file of labels.
        InputError: A source whose frames are no files.
    """

    def __init__(self, spec: str) -> None:
        path = Path(spec)
        _require_files(spec, path)
        self.name = spec
        self.paths = [path] if path.is_file() else find_images(spec)
        self.names = [each.stem for each in self.paths]
        _require_names(self.paths)

    def __len__(self) -> int:
        return len(self.paths)

    def shape(self, index: int) -> tuple[int, int]:
        """(H, W) of a frame, without reading its pixels where the file says it.

        Raises:
            SourceError: The file cannot be read.
        """
        try:
            with Image.open(self.paths[index]) as image:
                return image.height, image.width
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            height, width = self.read(index).shape
            return int(height), int(width)

    def read(self, index: int) -> NDArray[Any]:
        """A frame [H, W] in its native depth, as training reads it: of a colour picture the luma.

        Raises:
            SourceError: The file cannot be read.
        """
        try:
            return read_frame(self.paths[index], colour="luma")
        except ImageError as error:
            raise SourceError(str(error)) from error
        except Image.DecompressionBombError as error:
            raise SourceError(f"{self.paths[index]}: {error}; cut it into smaller frames") from error

    def picture(self, index: int, *, view: str = "whole", inverted: bool = False) -> bytes:
        """A frame as a gray PNG of 8 bits, pixel for pixel.

        Args:
            index: Which one.
            view: ``whole`` maps robust percentiles of the frame, 8-bit frames unchanged. ``detail`` takes the means of
                15x15 pixels away and shows -4 to 12 deviations of the rest, so that faint targets show on any ground.
            inverted: Dark is white.

        Raises:
            SourceError: The file cannot be read.
        """
        frame = self.read(index)
        if view == "detail":
            shown = _detail(frame, -1 if inverted else 1)
        else:
            shown = 255 - ToneMap()(frame) if inverted else ToneMap()(frame)
        target = io.BytesIO()
        Image.fromarray(shown).save(target, "PNG", compress_level=1)
        return target.getvalue()


def _detail(frame: NDArray[Any], sign: int) -> NDArray[np.uint8]:
    values = sign * np.nan_to_num(frame.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    values -= ndimage.uniform_filter(values, _DETAIL_PX, mode="nearest")
    deviation = robust_deviation(values)
    low, high = _DETAIL_RANGE
    # A frame of 8 bits may be constant in most of its pixels; then one count is the deviation.
    scaled = (values / max(deviation, 1e-3 * float(np.ptp(values)), 1e-6) - low) * (255 / (high - low))
    shown: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return shown


def _require_files(spec: str, path: Path) -> None:
    scheme = find_scheme(spec)
    if scheme.live:
        raise InputError(
            f"{redact(spec)} is live, and labels are for frames that one can go back to; record it "
            "(pitviper detect SOURCE --record DIR), then label replay://DIR with --frames"
        )
    video = path.is_file() and path.suffix.lower() not in IMAGE_SUFFIXES
    if video or scheme.names[0] != "file":
        kind = "a video" if video else f"a {scheme.names[0]} source"
        raise InputError(
            f"{spec} is {kind}; labels are for image files, because training reads those and knows frames by their "
            "names. Write the frames to a folder first (--frames DIR), then label that"
        )
    if not path.exists() and not set(spec) & set("*?["):
        raise SourceError(f"{spec}: no such file or folder; check the path")


def _require_names(paths: list[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        if seen.setdefault(path.stem, path) != path:
            raise SourceError(
                f"{seen[path.stem]} and {path} are both called {path.stem!r}; labels know frames by their file names "
                "without suffix, so rename one of them"
            )
        try:
            path.name.encode()
        except UnicodeEncodeError as error:
            raise SourceError(f"{path!r}: its name is no UTF-8 text; rename the file") from error
        if frame_name(path.name) != path.stem:
            raise SourceError(
                f"{path}: labels cannot name this file; rename it without spaces at its ends and backslashes"
            )
