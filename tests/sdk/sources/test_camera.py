# SPDX-License-Identifier: Apache-2.0
"""Sources with a camera profile: pictures, flags from telemetry, counts of what was refused."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.sdk.sources import open_source
from pitviper.sdk.sources.planes import to_plane, to_words
from pitviper.sdk.sources.schemes import find_scheme


def lepton_frame(counter: int, *, state: int = 3, last: int = 5, agc: bool = False) -> NDArray[np.uint16]:
    raw = np.random.default_rng(counter).integers(29000, 30000, (122, 160)).astype(np.uint16)
    raw[120:] = 0
    raw[120, 3] = state << 4 | int(agc) << 12
    raw[120, 20], raw[120, 30] = counter, last
    return raw


def test_telemetry_becomes_flags_and_pictures_lose_its_rows() -> None:
    frames = [
        lepton_frame(0),
        lepton_frame(1, state=1),
        lepton_frame(2, state=2),
        lepton_frame(3, last=9),
        lepton_frame(4, last=9, agc=True),
    ]
    read = list(open_source(frames, camera="lepton"))
    assert [frame.flags for frame in read] == [(), ("ffc_imminent",), ("ffc",), ("ffc",), ("agc_on",)]
    assert [frame.telemetry.frame_counter for frame in read if frame.telemetry] == [0, 1, 2, 3, 4]
    for frame, raw in zip(read, frames, strict=True):
        assert np.array_equal(frame.image, raw[:120])
    source = open_source(frames, camera="lepton")
    assert source.info.fps == 9.0


def test_counts_above_the_valid_bits_are_flagged_and_kept() -> None:
    frames = np.full((1, 512, 640), 16384, np.uint16)
    (frame,) = open_source(frames, camera="tau")
    assert frame.flags == ("above_valid_bits",)
    assert int(frame.image.max()) == 16384
    (clean,) = open_source(frames - 1, camera="tau")
    assert clean.flags == ()


def test_a_frame_of_another_size_raises_or_is_counted() -> None:
    frames = [lepton_frame(0), np.zeros((64, 64), np.uint16), lepton_frame(2)]
    with pytest.raises(sdk.InputError, match=r"frame 1.*64x64"):
        list(open_source(frames, camera="lepton"))
    source = open_source(frames, camera="lepton", on_error="skip")
    read = list(source)
    assert [frame.index for frame in read] == [0, 2]
    assert read[1].flags == ("after_gap",)
    assert source.skipped == 1


def test_skipped_by_the_raw_source_is_counted_too() -> None:
    frames = [lepton_frame(0), np.zeros((8, 8), np.uint16), lepton_frame(2)]
    source = open_source(frames, camera="lepton", on_error="skip")
    assert len(list(source)) == 2
    assert source.skipped == 1


def test_eight_bit_pictures_are_refused_by_a_camera() -> None:
    with pytest.raises(sdk.InputError, match="16-bit"):
        list(open_source(np.zeros((1, 120, 160), np.uint8), camera="lepton"))


def test_closing_closes_the_raw_source() -> None:
    raw = open_source([lepton_frame(0), lepton_frame(1)])
    source = open_source(raw, camera="lepton")
    next(source)
    source.close()
    assert list(raw) == []


def test_words_hidden_in_yuyv_lose_no_bit() -> None:
    words = np.random.default_rng(0).integers(0, 65536, (384, 256)).astype("<u2")
    picture = av.VideoFrame(256, 384, "yuyv422")
    plane = picture.planes[0]
    padded = np.zeros((384, plane.line_size), np.uint8)
    padded[:, :512] = words.view(np.uint8).reshape(384, 512)
    plane.update(padded.tobytes())
    assert np.array_equal(to_words(picture, "x"), words)
    assert to_plane(picture, "x").dtype == np.uint8
    image, _ = sdk.CameraProfile.unpack(sdk.camera_profile("infiray"), to_words(picture, "x"))
    assert np.array_equal(image, words[192:])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("3", "v4l2"),
        ("/dev/video1", "v4l2"),
        ("v4l2:///dev/video1", "v4l2"),
        ("a.mkv", "file"),
        ("a.sdp", "rtp"),
        ("watch:folder", "watch"),
        ("RTSPS://h/x", "rtsp"),
    ],
)
def test_a_text_means_one_kind_of_source(text: str, kind: str) -> None:
    assert find_scheme(text).names[0] == kind


def test_a_file_that_is_called_like_a_number_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "3").touch()
    monkeypatch.chdir(tmp_path)
    assert find_scheme("3").names == ("file",)
