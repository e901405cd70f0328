# SPDX-License-Identifier: Apache-2.0
"""Results as messages of ``vision_msgs``, and images of ``sensor_msgs`` as frames, without ROS being imported.

Layout of the messages: vision_msgs 4 (Humble, Jazzy and later), where the centre of a box is ``center.position``.
Pixels: ours start at the outer corner of the top left pixel, whose centre is (0.5, 0.5). ``vision_msgs`` does not say
where its pixels start; image_geometry and OpenCV put 0 at the centre of the first: for those pass ``offset_px=-0.5``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.errors import InputError
from pitviper.sdk.sources import Frame, FrameTime

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections, Target

__all__ = ["read_image", "to_detection_array"]

_ENCODINGS: Final[dict[str, type[np.generic]]] = {
    "mono8": np.uint8,
    "8UC1": np.uint8,
    "mono16": np.uint16,
    "16UC1": np.uint16,
    "32FC1": np.float32,
}
_LARGEST_PX: Final = 2**26


def to_detection_array(
    detections: Detections,
    messages: Any,
    *,
    header: Any = None,
    frame_id: str = "",
    clock: Literal["utc", "sensor"] = "utc",
    centre: Literal["box", "centroid"] = "box",
    offset_px: float = 0.0,
    labels: Sequence[str] = ("target",),
) -> Any:
    """A ``vision_msgs/Detection2DArray``: for each target box, class, score and, behind a tracker, its track as id.

    Args:
        detections: The result of one frame.
        messages: The module ``vision_msgs.msg``, or anything that makes messages with the same fields.
        header: Header of the image, taken as it is; without it one is filled in from ``frame_id`` and ``clock``.
        frame_id: Coordinate frame of the camera.
        clock: Time of the header: ``utc`` (arrival on this machine) or ``sensor`` (the source's own clock).
        centre: ``bbox.center`` is the centre of the ``box``, as the message says, or the sub-pixel ``centroid``, which
            is the better measurement of where a target of a few pixels is.
        offset_px: Added to x and y.
        labels: ``class_id`` of each class.

    Raises:
        InputError: The result has no such time, or a class has no label.
    """
    array = messages.Detection2DArray()
    if header is not None:
        array.header = header
    else:
        array.header.frame_id = frame_id
        seconds, nanoseconds = divmod(_nanoseconds(detections, clock), 10**9)
        array.header.stamp.sec, array.header.stamp.nanosec = seconds, nanoseconds
    for target in detections:
        message = messages.Detection2D()
        message.header = array.header
        message.id = str(target.track_id) if target.track_id >= 0 else ""
        _fill_box(message.bbox, target, centre, offset_px)
        hypothesis = messages.ObjectHypothesisWithPose()
        if target.class_id >= len(labels):
            raise InputError(f"class {target.class_id} has no label; there are {list(labels)}")
        hypothesis.hypothesis.class_id = labels[target.class_id]
        hypothesis.hypothesis.score = float(target.score)
        message.results.append(hypothesis)
        array.detections.append(message)
    return array


def _nanoseconds(detections: Detections, clock: str) -> int:
    if clock not in ("utc", "sensor"):
        raise InputError(f"clock must be 'utc' or 'sensor', got {clock!r}")
    found = None if detections.time is None else getattr(detections.time, f"{clock}_ns")
    if found is None:
        raise InputError(f"the result of frame {detections.frame_id} has no {clock} time; pass a header")
    return int(found)


def _fill_box(box: Any, target: Target, centre: str, offset_px: float) -> None:
    x0, y0, x1, y1 = target.xyxy
    if centre == "box":
        x, y = (x0 + x1) / 2, (y0 + y1) / 2
    elif centre == "centroid":
        x, y = target.x, target.y
    else:
        raise InputError(f"centre must be 'box' or 'centroid', got {centre!r}")
    box.center.position.x, box.center.position.y = float(x + offset_px), float(y + offset_px)
    box.size_x, box.size_y = float(x1 - x0), float(y1 - y0)


def read_image(message: Any, *, index: int = 0) -> Frame:
    """A ``sensor_msgs/Image`` of one channel as a frame, with its counts as they are; the pixels are copied.

    Args:
        message: Encoded as mono8, mono16, 8UC1, 16UC1 or 32FC1.
        index: Of the frame.

    Raises:
        InputError: Another encoding, or sizes that do not agree with the data.
    """
    dtype = _ENCODINGS.get(message.encoding)
    if dtype is None:
        raise InputError(
            f"an image in {message.encoding!r} cannot be used; needed is one of {', '.join(_ENCODINGS)}: "
            "set the camera's driver to raw counts"
        )
    height, width, step = int(message.height), int(message.width), int(message.step)
    row = width * np.dtype(dtype).itemsize
    data = np.frombuffer(message.data, np.uint8) if len(message.data) else np.empty(0, np.uint8)
    if not 0 < height * width <= _LARGEST_PX or step < row or data.size < step * (height - 1) + row:
        raise InputError(
            f"an image of {width}x{height} pixels in {message.encoding} with {step} bytes a row does not fit into its "
            f"{data.size} bytes"
        )
    rows = np.lib.stride_tricks.as_strided(data, (height, row), (step, 1), writeable=False)
    pixels: NDArray[Any] = rows.copy().view(dtype)
    if bool(message.is_bigendian) != (sys.byteorder == "big") and pixels.dtype.itemsize > 1:
        pixels = pixels.byteswap()
    stamp = message.header.stamp
    # Zero is what a driver without a clock sends.
    taken = int(stamp.sec) * 10**9 + int(stamp.nanosec) or None
    return Frame(pixels, index, FrameTime.now(taken))
