# SPDX-License-Identifier: Apache-2.0
"""Results as ROS messages and images as frames: every field, every pixel, no NumPy number where ROS wants a float."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pitviper import sdk
from pitviper.sdk.ros import read_image, to_detection_array
from pitviper.sdk.sources import FrameTime

UTC_NS = 1_700_000_000_123_456_789


@pytest.fixture
def found() -> sdk.Detections:
    """A target of one pixel at row 5, column 60, and one of 2 x 3 with its weight to the right and below."""
    return sdk.Detections(
        xy=[[60.5, 5.5], [31.25, 21.75]],
        xyxy=[[60, 5, 61, 6], [30, 20, 32, 23]],
        score=[0.5, 1.0],
        mean=[0.5, 0.9],
        area_px=[1, 6],
        snr=[9.0, np.nan],
        shape=(60, 80),
        class_id=[0, 1],
        track_id=[-1, 7],
        frame_id=3,
        time=FrameTime(41_000_000_007, 1, UTC_NS),
    )


def boxes(array: Any) -> list[tuple[float, float, float, float]]:
    found = [message.bbox for message in array.detections]
    return [(box.center.position.x, box.center.position.y, box.size_x, box.size_y) for box in found]


def test_every_target_is_a_detection(found: sdk.Detections, vision: Any) -> None:
    array = to_detection_array(found, vision, frame_id="thermal", labels=("drone", "bird"))
    assert boxes(array) == [(60.5, 5.5, 1.0, 1.0), (31.0, 21.5, 2.0, 3.0)]
    results = [message.results for message in array.detections]
    assert [[(one.hypothesis.class_id, one.hypothesis.score) for one in each] for each in results] == [
        [("drone", 0.5)],
        [("bird", 1.0)],
    ]
    assert [message.id for message in array.detections] == ["", "7"], "the track, or nothing"
    assert all(message.header is array.header for message in array.detections)
    assert all(message.bbox.center.theta == 0 for message in array.detections)


def test_centroids_and_other_origins(found: sdk.Detections, vision: Any) -> None:
    array = to_detection_array(found, vision, centre="centroid", labels="ab")
    assert [box[:2] for box in boxes(array)] == [(60.5, 5.5), (31.25, 21.75)]
    # The centre of the pixel in row 5 and column 60 is (60, 5) for OpenCV and image_geometry.
    array = to_detection_array(found, vision, offset_px=-0.5, labels="ab")
    assert boxes(array)[0] == (60.0, 5.0, 1.0, 1.0)


def test_the_time_is_utc_or_the_sensors_or_that_of_the_image(
    found: sdk.Detections, vision: Any, new_header: Any
) -> None:
    array = to_detection_array(found, vision, frame_id="thermal", labels="ab")
    assert (array.header.stamp.sec, array.header.stamp.nanosec) == (1_700_000_000, 123_456_789)
    assert array.header.frame_id == "thermal"
    array = to_detection_array(found, vision, clock="sensor", labels="ab")
    assert (array.header.stamp.sec, array.header.stamp.nanosec) == (41, 7)
    header = new_header(5, "left")
    assert to_detection_array(found, vision, header=header, labels="ab").header is header


def test_nothing_found_is_an_empty_array(vision: Any) -> None:
    empty = sdk.Detections.empty((60, 80), time=FrameTime(None, 1, UTC_NS))
    assert to_detection_array(empty, vision).detections == []
    with pytest.raises(sdk.InputError, match="has no sensor time; pass a header"):
        to_detection_array(empty, vision, clock="sensor")
    with pytest.raises(sdk.InputError, match="has no utc time"):
        to_detection_array(sdk.Detections.empty((60, 80)), vision)


def test_other_arguments(found: sdk.Detections, vision: Any) -> None:
    with pytest.raises(sdk.InputError, match="class 1 has no label"):
        to_detection_array(found, vision)
    with pytest.raises(sdk.InputError, match="centre must be"):
        to_detection_array(found, vision, centre="middle", labels="ab")  # type: ignore[arg-type]
    with pytest.raises(sdk.InputError, match="clock must be"):
        to_detection_array(found, vision, clock="ros", labels="ab")  # type: ignore[arg-type]


@pytest.mark.parametrize("spare", [0, 6])
@pytest.mark.parametrize(
    ("encoding", "dtype"),
    [
        ("mono8", "u1"),
        ("8UC1", "u1"),
        ("mono16", "<u2"),
        ("16UC1", ">u2"),
        ("32FC1", "<f4"),
        ("32FC1", ">f4"),
    ],
)
def test_images_keep_every_bit(image: Any, encoding: str, dtype: str, spare: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 2 ** (8 if dtype == "u1" else 14), (40, 50)).astype(dtype)
    frame = read_image(image(pixels, encoding, spare=spare), index=4)
    assert np.array_equal(frame.image, pixels)
    assert frame.image.dtype == np.dtype(dtype).newbyteorder("=")
    assert frame.image.flags.c_contiguous
    assert (frame.index, frame.time.sensor_ns) == (4, 7_000_000_500)


def test_a_frame_outlives_its_message(image: Any) -> None:
    message = image(np.full((4, 4), 9, np.uint16), "mono16")
    frame = read_image(message)
    message.data[0] = 255
    assert frame.image[0, 0] == 9


def test_a_driver_without_a_clock_sends_zero(image: Any) -> None:
    assert read_image(image(np.zeros((4, 4), np.uint8), "mono8", stamp=(0, 0))).time.sensor_ns is None


@pytest.mark.parametrize(
    "changes",
    [
        {"height": 41},
        {"width": 51},
        {"step": 1},
        {"step": 2**31},
        {"height": 0},
        {"width": 0},
        {"height": 2**32 - 1, "width": 2**32 - 1, "step": 2**32 - 1},
        {"encoding": "32FC1"},
    ],
)
def test_sizes_that_do_not_agree_are_refused(image: Any, changes: dict[str, Any]) -> None:
    message = image(np.zeros((40, 50), np.uint16), "mono16")
    for name, value in changes.items():
        setattr(message, name, value)
    with pytest.raises(sdk.InputError, match="does not fit"):
        read_image(message)


@given(
    st.integers(0, 2**32 - 1) | st.integers(0, 9),
    st.integers(0, 2**32 - 1) | st.integers(0, 9),
    st.integers(0, 2**32 - 1) | st.integers(0, 40),
    st.binary(max_size=300),
    st.sampled_from(["mono8", "16UC1", "32FC1"]),
)
def test_any_sizes_are_read_or_refused(
    height: int, width: int, step: int, data: bytes, encoding: str
) -> None:
    stamp = SimpleNamespace(sec=1, nanosec=0)
    message = SimpleNamespace(
        encoding=encoding, height=height, width=width, step=step, data=data, is_bigendian=0
    )
    message.header = SimpleNamespace(stamp=stamp)
    try:
        frame = read_image(message)
    except sdk.InputError:
        return
    assert frame.image.shape == (height, width)


def test_colour_is_refused_with_the_fix(image: Any) -> None:
    with pytest.raises(sdk.InputError, match=r"'rgb8' cannot be used; .*raw counts"):
        read_image(image(np.zeros((40, 150), np.uint8), "rgb8"))
