# SPDX-License-Identifier: Apache-2.0
"""Reading frames keeps their depth and refuses what is no frame."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pitviper.core.images import ImageError, read_frame

COUNTS = np.array([[0, 1, 255], [256, 16383, 65535]], np.uint16)


def save(path: Path, pixels: NDArray[Any]) -> Path:
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "tiff", "pgm"])
def test_sixteen_bits_stay_sixteen(tmp_path: Path, suffix: str) -> None:
    frame = read_frame(save(tmp_path / f"frame.{suffix}", COUNTS))
    assert frame.dtype == np.uint16
    assert np.array_equal(frame, COUNTS)


@pytest.mark.parametrize("kind", [2, 4, 6], ids=["RGB", "gray+alpha", "RGBA"])
def test_sixteen_bits_in_planes_are_refused_not_halved(tmp_path: Path, kind: int) -> None:
    (tmp_path / "frame.png").write_bytes(sixteen_bit_png(kind))
    with pytest.raises(ImageError, match=r"frame\.png: 16 bits in several planes, of which 8 would be kept"):
        read_frame(tmp_path / "frame.png")


def sixteen_bit_png(kind: int) -> bytes:
    """2 x 2 pixels of 8000 in every plane; ``kind`` is the colour type of the format."""
    planes = {2: 3, 4: 2, 6: 4}[kind]
    rows = (b"\0" + np.full(2 * planes, 8000, ">u2").tobytes()) * 2
    header = struct.pack(">IIBBBBB", 2, 2, 16, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("largest", [1023, 16383, 65535])
def test_counts_of_a_pgm_are_not_stretched(tmp_path: Path, largest: int) -> None:
    counts = np.array([[0, 1, 2], [largest // 3, largest - 1, largest]], np.uint16)
    path = tmp_path / "frame.pgm"
    path.write_bytes(b"P5\n3 2\n%d\n" % largest + counts.astype(">u2").tobytes())
    frame = read_frame(path)
    assert frame.dtype == np.uint16
    assert np.array_equal(frame, counts)


def test_several_pages_are_refused(tmp_path: Path) -> None:
    pages = [Image.fromarray(COUNTS) for _ in range(3)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ImageError, match=r"stack\.tif: 3 pages in one file; save one file a page"):
        read_frame(tmp_path / "stack.tif")


def test_transparency_is_refused_where_it_says_something(tmp_path: Path) -> None:
    pixels = np.full((4, 4, 4), 255, np.uint8)
    assert read_frame(save(tmp_path / "whole.png", pixels)).max() == 255
    pixels[0, 0, 3] = 0
    with pytest.raises(ImageError, match="transparent, which would be ignored"):
        read_frame(save(tmp_path / "mask.png", pixels))


def test_big_endian_tiff(tmp_path: Path) -> None:
    path = tmp_path / "frame.tif"
    Image.frombytes("I;16B", (3, 2), COUNTS.astype(">u2").tobytes()).save(path)
    frame = read_frame(path)
    assert frame.dtype == np.uint16
    assert np.array_equal(frame, COUNTS)


def test_thirty_two_bit_integers_that_fit_become_sixteen(tmp_path: Path) -> None:
    frame = read_frame(save(tmp_path / "frame.tif", COUNTS.astype(np.int32)))
    assert frame.dtype == np.uint16
    assert np.array_equal(frame, COUNTS)
    with pytest.raises(ImageError, match=r"from -1 to 5.*16 bits"):
        read_frame(save(tmp_path / "below.tif", np.array([[-1, 5]], np.int32)))
    with pytest.raises(ImageError, match="to 65536"):
        read_frame(save(tmp_path / "above.tif", np.array([[0, 65536]], np.int32)))


def test_float_tiff_keeps_its_values(tmp_path: Path) -> None:
    kelvin = np.array([[293.15, -1e-3], [1e6, 0.1]], np.float32)
    frame = read_frame(save(tmp_path / "frame.tif", kelvin))
    assert frame.dtype == np.float32
    assert np.array_equal(frame, kelvin)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "pgm"])
def test_eight_bits(tmp_path: Path, suffix: str) -> None:
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4) * 23
    frame = read_frame(save(tmp_path / f"frame.{suffix}", gray))
    assert frame.dtype == np.uint8
    assert np.array_equal(frame, gray)


def test_one_bit_becomes_0_and_255(tmp_path: Path) -> None:
    frame = read_frame(save(tmp_path / "mask.png", np.array([[True, False], [False, True]])))
    assert np.array_equal(frame, [[255, 0], [0, 255]])


def test_equal_planes_are_one_plane(tmp_path: Path) -> None:
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    frame = read_frame(save(tmp_path / "frame.png", np.repeat(gray[..., None], 3, axis=2)))
    assert np.array_equal(frame, gray)
    with_alpha = np.dstack([gray, gray, gray, np.full_like(gray, 7)])
    assert np.array_equal(read_frame(save(tmp_path / "alpha.png", with_alpha)), gray)


def test_false_colour_is_refused_unless_luma_is_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path / "frame.png", np.array([[[200, 100, 50], [255, 255, 255]]], np.uint8))
    with pytest.raises(ImageError, match="three unequal colour planes"):
        read_frame(path)
    assert read_frame(path, colour="luma").tolist() == [[124, 255]], "0.299 R + 0.587 G + 0.114 B, rounded"


def test_palette_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "frame.png"
    Image.fromarray(np.zeros((4, 4), np.uint8)).convert("P").save(path)
    with pytest.raises(ImageError, match=r"mode P.*8- or 16-bit gray"):
        read_frame(path)


def test_files_that_are_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such file"):
        read_frame(tmp_path / "absent.png")
    empty = tmp_path / "empty.png"
    empty.touch()
    with pytest.raises(ImageError, match=r"empty \(0 bytes\)"):
        read_frame(empty)
    text = tmp_path / "text.png"
    text.write_text("not an image")
    with pytest.raises(ImageError, match="not an image in a known format"):
        read_frame(text)


@pytest.mark.parametrize("share", [0.4, 0.9])
@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_truncated_files(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64)).astype(np.uint8)
    whole = save(tmp_path / f"whole.{suffix}", noise).read_bytes()
    path = tmp_path / f"part.{suffix}"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ImageError, match=r"part\."):
        read_frame(path)
