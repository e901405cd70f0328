# SPDX-License-Identifier: Apache-2.0
"""Raw pixel formats that the reader unpacks without losing a bit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.errors import SourceError

__all__ = ["PIXELS", "RawPixels", "unpack_rows"]


@dataclass(frozen=True)
class RawPixels:
    """One raw format: ``dtype`` of a sample, ``samples`` per pixel and which of them is kept, valid ``bits``."""

    dtype: str
    bits: int
    samples: int = 1
    first: int = 0

    def row_bytes(self, width: int) -> int:
        """Bytes of a row of ``width`` pixels without padding."""
        return np.dtype(self.dtype).itemsize * self.samples * width


PIXELS: Final[dict[str, RawPixels]] = {
    "Y16": RawPixels("<u2", 16),
    "Y16-BE": RawPixels(">u2", 16),
    "Y14": RawPixels("<u2", 14),
    "Y12": RawPixels("<u2", 12),
    "Y10": RawPixels("<u2", 10),
    "GREY": RawPixels("|u1", 8),
    "YUYV": RawPixels("|u1", 8, samples=2),
    "UYVY": RawPixels("|u1", 8, samples=2, first=1),
}
"""Four-character code -> how its rows are read. Of YUYV and UYVY the luma is kept."""


def unpack_rows(
    data: Any, code: str, *, size: tuple[int, int], bytes_per_line: int, words: bool = False
) -> NDArray[Any]:
    """A picture [H, W] from a driver's buffer: uint8, or uint16 in machine order; a copy.

    Args:
        data: Bytes-like, the rows one after another.
        code: A key of `PIXELS`.
        size: (H, W) in pixels.
        bytes_per_line: From one row to the next, padding included.
        words: Read YUYV and UYVY as one little-endian word per pixel, for cameras that hide counts in them.

    Raises:
        SourceError: Too few bytes for such a picture, or rows that overlap.
    """
    pixels = PIXELS[code]
    if words and pixels.samples == 2:
        pixels = RawPixels("<u2", 16)
    height, width = size
    row = pixels.row_bytes(width)
    stride = bytes_per_line or row
    needed = (height - 1) * stride + row
    # Looked at before an array exists: an error would keep it, and with it the driver's buffer.
    given = memoryview(data).nbytes
    if min(height, width) < 1 or stride < row or given < needed:
        raise SourceError(
            f"a {code} picture of {width}x{height} with {stride} bytes a row needs {max(needed, 1)} bytes, "
            f"got {given}: the driver delivered an incomplete frame"
        )
    rows = np.lib.stride_tricks.as_strided(
        np.frombuffer(data, np.uint8), (height, row), (stride, 1), writeable=False
    )
    samples = np.ascontiguousarray(rows).view(pixels.dtype)[:, pixels.first :: pixels.samples]
    return np.array(samples, dtype=samples.dtype.newbyteorder("="), order="C")
