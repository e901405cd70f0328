# SPDX-License-Identifier: Apache-2.0
"""A watched folder: only complete files, each once, in the order of their completion."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pitviper import sdk
from pitviper.sdk.sources import open_source
from pitviper.sdk.sources.watch import CLOSE_WRITE, parse_events


def png(value: int) -> bytes:
    packed = io.BytesIO()
    Image.fromarray(np.full((40, 48), value, np.uint16)).save(packed, "PNG")
    return packed.getvalue()


def test_a_file_is_taken_when_it_is_closed_or_renamed_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_bytes(png(1))
    source = open_source(f"watch:{tmp_path}", timeout_s=0.1)
    assert source.info.live
    with open(tmp_path / "slow.png", "wb") as file:
        data = png(2)
        file.write(data[:40])
        file.flush()
        hidden = tmp_path / ".fast.png"
        hidden.write_bytes(png(3))
        hidden.rename(tmp_path / "fast.png")
        (tmp_path / "notes.txt").write_text("no image")
        frame = next(source)
        assert (frame.name, int(frame.image[0, 0]), frame.index) == ("fast.png", 3, 0)
        file.write(data[40:])
    frame = next(source)
    assert (frame.name, int(frame.image[0, 0]), frame.index) == ("slow.png", 2, 1)
    (tmp_path / "fast.png").write_bytes(png(4))
    assert int(next(source).image[0, 0]) == 4
    with pytest.raises(sdk.SourceTimeout, match=r"no new image for 0\.1 s after 3"):
        next(source)


def test_a_broken_file_raises_or_is_counted(tmp_path: Path) -> None:
    for policy in ("raise", "skip"):
        source = open_source(f"watch://{tmp_path}", timeout_s=0.1, on_error=policy)
        (tmp_path / "broken.png").write_bytes(png(5)[:60])
        (tmp_path / "whole.png").write_bytes(png(6))
        if policy == "raise":
            with pytest.raises(sdk.SourceError, match=r"broken\.png"):
                next(source)
        else:
            frame = next(source)
            assert (frame.name, frame.index, frame.flags) == ("whole.png", 1, ("after_gap",))
            assert source.skipped == 1
            source.close()


def test_colour_pictures_are_refused_or_their_luma_is_taken(tmp_path: Path) -> None:
    gray = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48) % 256
    planes = np.dstack([gray, gray, gray // 2 * 2]).astype(np.uint8)
    for options in ({}, {"colour": "luma"}):
        source = open_source(f"watch:{tmp_path}", timeout_s=0.1, options=options)
        Image.fromarray(planes).save(tmp_path / "colour.png")
        if not options:
            with pytest.raises(sdk.SourceError, match="--source-option colour=luma"):
                next(source)
        else:
            assert next(source).flags == ("colour_ignored",)
            source.close()


def test_a_folder_that_goes_away_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    source = open_source(f"watch:{folder}", timeout_s=5)
    folder.rmdir()
    with pytest.raises(sdk.SourceLost, match="folder is gone"):
        next(source)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(sdk.SourceError, match="no such folder"):
        open_source(f"watch:{tmp_path / 'nowhere'}")


def test_events_of_the_kernel() -> None:
    entry = struct.pack("iIII", 1, CLOSE_WRITE, 0, 16) + b"a.png".ljust(16, b"\0")
    assert [tuple(each) for each in parse_events(entry * 2)] == [(CLOSE_WRITE, "a.png")] * 2
    for cut in (3, 20):
        with pytest.raises(sdk.SourceError, match="within"):
            parse_events(entry + entry[:cut])


def test_a_wait_without_end_can_be_interrupted(tmp_path: Path, detector: sdk.Detector) -> None:
    stream = detector.stream(f"watch:{tmp_path}", timeout_s=float("inf"))
    assert stream.read(0.05) is None
    stream.close()
    assert stream.state == "closed"
