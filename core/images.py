# SPDX-License-Identifier: Apache-2.0
"""Reading single infrared images from files without losing a bit of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

IMAGE_SUFFIXES = frozenset({".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg", ".pgm"})
_LUMA = np.array([0.299, 0.587, 0.114])


class ImageError(ValueError):
    """A file that cannot be read as one single-channel frame; the message names the file and the fix."""


class ColourError(ImageError):
    """A picture of three unequal planes where a frame of one is needed."""


class Picture(NamedTuple):
    """A single-channel frame [H, W], and whether it is the luma of a colour picture."""

    pixels: NDArray[Any]
    colour_ignored: bool


def read_frame(path: str | Path, *, colour: str = "refuse") -> NDArray[Any]:
    """The frame of `read_picture`, uint8, uint16 or float32 [H, W]; never rescaled."""
    return read_picture(path, colour=colour).pixels


def read_picture(path: str | Path, *, colour: str = "refuse") -> Picture:
    """Read one image as a single-channel frame in its native depth.

    Args:
        path: PNG, TIFF, BMP, JPEG or PGM file; 8 or 16 bits, or 32-bit float (TIFF).
        colour: What to do with three unequal colour planes: ``"refuse"`` raises, because a false-colour palette
            is no temperature; ``"luma"`` takes ITU-R BT.601 luma, rounded to uint8. Equal planes are one plane.

    Returns:
        uint8, uint16 or float32 pixels [H, W], never rescaled.

    Raises:
        ImageError: The file is missing, empty, not an image, not single-channel (`ColourError` for unequal planes), has
            several pages, or several planes of 16 bits.
    """
    path = Path(path)
    if path.is_dir():
        raise ImageError(f"{path}: a folder, not one image; name a file in it, or stream the folder")
    if not path.is_file():
        raise ImageError(f"{path}: no such file; check the path and the list that names it")
    if path.stat().st_size == 0:
        raise ImageError(f"{path}: the file is empty (0 bytes); copy or download it again")
    try:
        with Image.open(path) as image:
            _require_one_page(image, path)
            _require_whole_depth(image, path)
            largest = _declared_maximum(image)
            image.load()
            mode = image.mode
            pixels = np.asarray(image)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path}: not an image in a known format; expected PNG, TIFF, BMP, JPEG or PGM (videos are streamed)"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(
            f"{path}: cannot be decoded ({error}); the file is damaged, copy it again"
        ) from error
    if largest is not None:
        pixels = np.rint(pixels * (largest / 65535)).astype(np.int32)
    if mode in {"RGB", "RGBA"}:
        return _of_planes(pixels, path, colour)
    return Picture(_single_channel(pixels, mode, path), False)


def _require_one_page(image: Image.Image, path: Path) -> None:
    pages = int(getattr(image, "n_frames", 1))
    if pages > 1:
        raise ImageError(
            f"{path}: {pages} pages in one file; save one file a page, or pass an array [N, H, W]"
        )


def _require_whole_depth(image: Image.Image, path: Path) -> None:
    """Pillow reads several planes of 16 bits as planes of 8."""
    if not image.mode.startswith("I") and any(";16" in str(tile[3]) for tile in _tiles(image)):
        raise ImageError(
            f"{path}: 16 bits in several planes, of which 8 would be kept; save it as gray, without colour or "
            "transparency"
        )


def _tiles(image: Image.Image) -> list[Any]:
    """(decoder, extents, offset, arguments) of each part; empty once the image is loaded."""
    return list(getattr(image, "tile", []))


def _declared_maximum(image: Image.Image) -> int | None:
    """The maxval of a PGM that Pillow would stretch to 65535, so that it can be undone; None elsewhere."""
    if image.format != "PPM" or image.mode != "I":
        return None
    arguments = _tiles(image)[0][3]
    return int(arguments[1]) if isinstance(arguments, tuple) else None


def _of_planes(pixels: NDArray[Any], path: Path, colour: str) -> Picture:
    """The frame of a picture [H, W, 3], or [H, W, 4] whose last plane is opacity."""
    planes = pixels[..., :3]
    if pixels.shape[2] == 4 and pixels[..., 3].min() != pixels[..., 3].max():
        raise ImageError(f"{path}: parts of it are transparent, which would be ignored; save it as gray")
    if np.array_equal(planes[..., 0], planes[..., 1]) and np.array_equal(planes[..., 0], planes[..., 2]):
        return Picture(np.ascontiguousarray(planes[..., 0]), False)
    if colour == "luma":
        return Picture(np.rint(planes @ _LUMA).astype(np.uint8), True)
    raise ColourError(
        f"{path}: three unequal colour planes; a false-colour palette is no temperature. Save the raw gray frame, "
        "or, if it is a gray picture whose planes differ a little, pass the array "
        'pitviper.core.datasets.read_frame(path, colour="luma")'
    )


def _single_channel(pixels: NDArray[Any], mode: str, path: Path) -> NDArray[Any]:
    if mode == "1":
        return pixels.astype(np.uint8) * np.uint8(255)
    if mode == "L":
        return pixels
    if mode.startswith("I;16"):
        return pixels.astype(np.uint16)
    if mode == "I":
        low, high = int(pixels.min()), int(pixels.max())
        if low < 0 or high > 65535:
            raise ImageError(
                f"{path}: 32-bit integers from {low} to {high}; save it with 16 bits or as float TIFF"
            )
        return pixels.astype(np.uint16)
    if mode == "F":
        return pixels.astype(np.float32)
    raise ImageError(f"{path}: image mode {mode} is not supported; save it as 8- or 16-bit gray")
