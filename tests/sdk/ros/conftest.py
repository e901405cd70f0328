# SPDX-License-Identifier: Apache-2.0
"""Messages with the fields of vision_msgs 4 and sensor_msgs, as strict as those of rclpy, and no ROS."""

from __future__ import annotations

import array
from collections.abc import Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest


class Message:
    """Knows its fields and takes nothing else: as the setters of rclpy's messages."""

    fields: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, **values: Any) -> None:
        for name, kind in self.fields.items():
            setattr(self, name, kind())
        for name, value in values.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        kind = self.fields.get(name)
        if kind is None:
            raise AttributeError(f"{type(self).__name__} has no field {name}")
        # Exactly: rclpy refuses a NumPy float in the place of a float.
        assert type(value) is kind, (
            f"{type(self).__name__}.{name} is {kind.__name__}, got {type(value).__name__}"
        )
        super().__setattr__(name, value)


def kind(name: str, **fields: Any) -> Any:
    return type(name, (Message,), {"fields": fields})


class Bytes(array.array):  # type: ignore[type-arg]
    """What rclpy holds the pixels in."""

    def __new__(cls, values: bytes = b"") -> Bytes:
        return super().__new__(cls, "B", values)


Time = kind("Time", sec=int, nanosec=int)
Header = kind("Header", stamp=Time, frame_id=str)
Point2D = kind("Point2D", x=float, y=float)
Pose2D = kind("Pose2D", position=Point2D, theta=float)
BoundingBox2D = kind("BoundingBox2D", center=Pose2D, size_x=float, size_y=float)
ObjectHypothesis = kind("ObjectHypothesis", class_id=str, score=float)
PoseWithCovariance = kind("PoseWithCovariance")
ObjectHypothesisWithPose = kind(
    "ObjectHypothesisWithPose", hypothesis=ObjectHypothesis, pose=PoseWithCovariance
)
Detection2D = kind("Detection2D", header=Header, results=list, bbox=BoundingBox2D, id=str)
Detection2DArray = kind("Detection2DArray", header=Header, detections=list)
Image = kind(
    "Image",
    header=Header,
    height=int,
    width=int,
    encoding=str,
    is_bigendian=int,
    step=int,
    data=Bytes,
)


@pytest.fixture
def vision() -> Any:
    """As the module vision_msgs.msg."""
    return SimpleNamespace(
        Detection2DArray=Detection2DArray,
        Detection2D=Detection2D,
        ObjectHypothesisWithPose=ObjectHypothesisWithPose,
    )


@pytest.fixture
def image() -> Any:
    """Makes a sensor_msgs/Image of an array, with free bytes at the end of each row."""

    def make(pixels: Any, encoding: str, *, spare: int = 0, stamp: tuple[int, int] = (7, 500)) -> Any:
        rows = [row.tobytes() + b"\xee" * spare for row in pixels]
        return Image(
            header=Header(stamp=Time(sec=stamp[0], nanosec=stamp[1]), frame_id="thermal"),
            height=pixels.shape[0],
            width=pixels.shape[1],
            encoding=encoding,
            is_bigendian=int(pixels.dtype.byteorder == ">"),
            step=len(rows[0]),
            data=Bytes(b"".join(rows)),
        )

    return make


@pytest.fixture
def new_header() -> Any:
    return lambda sec, frame_id: Header(stamp=Time(sec=sec), frame_id=frame_id)
