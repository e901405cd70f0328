# SPDX-License-Identifier: Apache-2.0
"""Repair of a fragmented MP4 that a full disk cut off (ISO/IEC 14496-12: top-level boxes, size then type)."""

from __future__ import annotations

import os
import struct
from pathlib import Path

__all__ = ["drop_torn_fragment"]


def drop_torn_fragment(path: Path) -> None:
    """Cut the file behind its last whole fragment, so that no player meets half a picture.

    A fragment is a box `moof` and the `mdat` after it. A file without `moov` cannot be helped and stays as it is.
    """
    with open(path, "r+b") as file:
        size = os.fstat(file.fileno()).st_size
        at, whole, seen_index = 0, 0, False
        while at + 8 <= size:
            file.seek(at)
            length, kind = struct.unpack(">I4s", file.read(8))
            if length == 1 and at + 16 <= size:
                (length,) = struct.unpack(">Q", file.read(8))
            if length < 8 or at + length > size:
                break
            at += length
            seen_index |= kind == b"moov"
            if kind != b"moof":
                whole = at
        if seen_index and whole < size:
            file.truncate(whole)
