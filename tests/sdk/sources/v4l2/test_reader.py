# SPDX-License-Identifier: Apache-2.0
"""The reader's logic against a made-up device: formats, times, numbers, faults, and what is given back."""

from __future__ import annotations

import errno
import os
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.cameras import camera_profile
from pitviper.sdk.sources.schemes import OpenOptions
from pitviper.sdk.sources.v4l2 import V4L2Source, describe, open_device
from pitviper.sdk.sources.v4l2.pixels import PIXELS, unpack_rows

GONE = OSError(errno.ENODEV, os.strerror(errno.ENODEV))


def opened(device: Any, on_error: str = "raise", **options: str) -> V4L2Source:
    source = open_device(device, "cam", OpenOptions(timeout_s=0.1, on_error=on_error, options=options))
    assert source is not None
    return source


def test_frames_keep_all_bits_times_and_numbers(fake: Any, shots: list[Any]) -> None:
    device = fake(shots)
    device.padding = 6
    with opened(device) as source:
        assert (source.info.width, source.info.height, source.info.fps) == (640, 512, 60.0)
        assert source.info.live
        assert "STREAMON" not in device.asked, "frames would age before the first read"
        frames = [next(source) for _ in shots]
        for frame, (pixels, sequence, _) in zip(frames, shots, strict=True):
            assert np.array_equal(frame.image, pixels)
            assert frame.image.dtype == np.uint16
            assert frame.index == sequence
            assert frame.time.sensor_ns == 7_000_000_000 + sequence * 1_000_000
        with pytest.raises(sdk.SourceTimeout, match=r"no frame for 0\.1 s"):
            next(source)
    assert all(each.closed for each in device.memory)
    assert device.closed == 1
    assert not device.streaming


def test_dropped_frames_leave_a_gap_and_are_counted(fake: Any, shots: list[Any]) -> None:
    pixels = shots[0][0]
    with opened(fake([(pixels, number, {}) for number in (10, 11, 15, 16)])) as source:
        frames = [next(source) for _ in range(4)]
        assert [frame.index for frame in frames] == [0, 1, 5, 6]
        assert [frame.flags for frame in frames] == [(), (), ("after_gap",), ()]
        assert source.skipped == 3


def test_a_driver_that_does_not_count_still_gives_numbers(fake: Any, shots: list[Any]) -> None:
    pixels = shots[0][0]
    with opened(fake([(pixels, 0, {})] * 3)) as source:
        assert [next(source).index for _ in range(3)] == [0, 1, 2]
        assert source.skipped == 0


def test_another_clock_is_not_taken_for_the_monotonic_one(fake: Any, shots: list[Any]) -> None:
    with opened(fake([(shots[0][0], 0, {"flags": 0})])) as source:
        assert next(source).time.sensor_ns is None


def test_an_unplugged_camera_is_lost_and_all_is_given_back(fake: Any, shots: list[Any]) -> None:
    device = fake([shots[0], GONE])
    source = opened(device)
    next(source)
    with pytest.raises(sdk.SourceLost, match="gone; plug it in"):
        next(source)
    assert device.closed == 1
    assert all(each.closed for each in device.memory)


def test_damaged_short_and_empty_frames(fake: Any, shots: list[Any]) -> None:
    good, damaged = shots[0][0], {"flags": 0x2040}
    series = [
        (good, 0, damaged),
        (good.tobytes()[:1000], 1, {}),
        (b"", 2, {"flags": 0x2040, "bytesused": 0}),
        (good, 3, {}),
    ]
    with opened(fake(list(series)), on_error="skip") as source:
        first, last = next(source), next(source)
        assert first.flags == ("corrupt",)
        assert (last.index, last.flags, source.skipped) == (3, ("after_gap",), 2)
    source = opened(fake(series[1:]))
    with pytest.raises(sdk.SourceError, match="needs 655360 bytes, got 1000"):
        next(source)


def test_every_buffer_comes_back_over_many_frames(fake: Any, shots: list[Any]) -> None:
    device = fake([(shots[0][0], number, {}) for number in range(50)])
    with opened(device) as source:
        for _ in range(50):
            next(source)
            assert len(device.queued) == len(device.memory)


def test_a_mode_that_the_driver_changes_is_refused_with_what_it_does(fake: Any) -> None:
    device = fake([])
    with pytest.raises(sdk.InputError, match=r"does not send Y16 in 800x600.*Y16 \(640x512, 320x256\)"):
        opened(device, video_size="800x600")
    assert device.closed == 1
    with pytest.raises(sdk.InputError, match="does not do 50 frames per second here, but 60"):
        opened(fake([]), framerate="50")


def test_options_choose_the_mode(fake: Any) -> None:
    source = opened(fake([]), input_format="gray16le", video_size="320x256", framerate="30")
    assert (source.mode.code, source.mode.size, source.mode.fps) == ("Y16", (256, 320), 30.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"video_size": "640"}, "WIDTHxHEIGHT"),
        ({"framerate": "fast"}, "frames per second"),
        ({"reader": "opencv"}, "auto, ioctl, ffmpeg"),
        ({"rtsp_transport": "tcp"}, "reader=ffmpeg"),
        ({"reader": "ioctl", "input_format": "I420"}, "our own reader takes"),
    ],
)
def test_options_out_of_range(fake: Any, options: dict[str, str], message: str) -> None:
    device = fake([])
    with pytest.raises(sdk.InputError, match=message):
        opened(device, **options)
    assert device.closed == 1


def test_formats_that_are_not_raw_go_to_ffmpeg_with_a_hint(fake: Any, caplog: Any) -> None:
    device = fake([], modes={"I420": [(512, 640)], "Y16": [(512, 640)]})
    assert open_device(device, "cam", OpenOptions()) is None
    assert "input_format=Y16" in caplog.text
    assert device.closed == 1


def test_a_profile_chooses_format_and_size(fake: Any) -> None:
    modes = {"I420": [(512, 640)], "Y16": [(514, 640), (512, 640)]}
    boson = camera_profile("boson")
    source = open_device(fake([], modes=modes), "cam", OpenOptions(camera=boson))
    assert source is not None
    assert (source.mode.code, source.mode.size) == ("Y16", (512, 640))
    infiray = camera_profile("infiray")
    words = open_device(fake([], modes={"YUYV": [(384, 256)]}), "cam", OpenOptions(camera=infiray))
    assert words is not None
    assert words.mode.size == (384, 256)


def test_a_node_without_pictures_is_refused(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    device = fake([])
    monkeypatch.setattr(device, "querycap", lambda c: None)
    with pytest.raises(sdk.SourceError, match="try the next number"):
        opened(device)


def test_too_few_buffers(fake: Any) -> None:
    device = fake([])
    device.granted = 1
    with pytest.raises(sdk.SourceError, match="grants 1 buffers"):
        opened(device)
    assert device.closed


def test_what_a_camera_lists(fake: Any) -> None:
    first, second = describe(fake([]))
    assert first.code == "Y16"
    assert first.sizes == {(512, 640): (60.0, 30.0), (256, 320): (60.0, 30.0)}
    assert second.code == "I420"


@pytest.mark.parametrize("code", sorted(PIXELS))
def test_rows_are_read_as_their_format_says(code: str) -> None:
    pixels = PIXELS[code]
    values = np.random.default_rng(1).integers(0, 1 << pixels.bits, (4, 6 * pixels.samples))
    rows = values.astype(pixels.dtype)
    image = unpack_rows(rows.tobytes(), code, size=(4, 6), bytes_per_line=0)
    assert np.array_equal(image, values[:, pixels.first :: pixels.samples])
    assert image.dtype == (np.uint8 if pixels.bits == 8 else np.uint16)


def test_yuyv_as_words() -> None:
    words = np.random.default_rng(2).integers(0, 65536, (4, 6)).astype("<u2")
    assert np.array_equal(
        unpack_rows(words.tobytes(), "YUYV", size=(4, 6), bytes_per_line=12, words=True), words
    )
