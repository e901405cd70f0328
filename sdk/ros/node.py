# SPDX-License-Identifier: Apache-2.0
"""`DetectorNode`: a ROS 2 node that detects in the images of a topic. It has not been run under ROS in this project."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from pitviper.sdk.errors import InputError, MissingExtra
from pitviper.sdk.ros.convert import read_image, to_detection_array

if TYPE_CHECKING:
    from pitviper.sdk.detector import Detector

__all__ = ["DetectorNode", "main"]

_PARAMETERS: Final[dict[str, Any]] = {
    "model": "pit-s",
    "engine": "auto",
    "device": "auto",
    "threshold": -1.0,
    "track": False,
    "centre": "box",
    "offset_px": 0.0,
}
"""Their defaults; a threshold below 0 takes the model's own."""
_EVERY: Final = 100
"""Of images that cannot be used the first is told, and then one in so many."""


class DetectorNode:
    """Subscribes to ``image`` (``sensor_msgs/Image``) and publishes ``detections`` (``vision_msgs/Detection2DArray``).

    The subscription keeps one image, the newest: while the detector works, older ones are dropped by the middleware,
    which does not count them. Detections have the header of their image. Parameters: ``model``, ``engine``, ``device``,
    ``threshold`` (below 0: the model's own), ``track`` (ids of tracks; images need time stamps), ``centre`` and
    ``offset_px`` as in `to_detection_array`.

    Args:
        detector: Instead of one after the parameters; it is not closed.
        name: Of the node.

    Attributes:
        node: The node of rclpy.
        processed: Images whose detections were published.
        refused: Images that could not be used.

    Raises:
        MissingExtra: rclpy or the messages are not there.
        SdkError: As from `Detector`.
    """

    def __init__(self, detector: Detector | None = None, *, name: str = "pitviper") -> None:
        from pitviper.sdk.detector import Detector
        from pitviper.sdk.tracking import Tracker

        rclpy, qos, images, self._messages = _ros("rclpy", "rclpy.qos", "sensor_msgs.msg", "vision_msgs.msg")
        self.node = rclpy.create_node(name)
        self.processed = self.refused = 0
        try:
            self.node.declare_parameters("", list(_PARAMETERS.items()))
            given = {key: self.node.get_parameter(key).value for key in _PARAMETERS}
            self._options = {"centre": given["centre"], "offset_px": float(given["offset_px"])}
            self._own = detector is None
            self._detector = detector or Detector(
                given["model"],
                engine=given["engine"],
                device=given["device"],
                threshold=None if given["threshold"] < 0 else given["threshold"],
            )
            self._tracker = Tracker() if given["track"] else None
            self._publisher = self.node.create_publisher(self._messages.Detection2DArray, "detections", 10)
            newest = qos.QoSProfile(depth=1, reliability=qos.ReliabilityPolicy.BEST_EFFORT)
            self.node.create_subscription(images.Image, "image", self._take, newest)
        except BaseException:
            self.node.destroy_node()
            raise
        self.node.get_logger().info(f"{self._detector!r} waits for images")

    def _take(self, message: Any) -> None:
        try:
            frame = read_image(message, index=self.processed + self.refused)
            found = replace(self._detector.detect(frame.image), frame_id=frame.index, time=frame.time)
            if self._tracker is not None:
                found = self._tracker.update(found, frame=frame)
        except InputError as error:
            # One image, or the wrong topic: the node goes on, and says why nothing comes.
            if self.refused % _EVERY == 0:
                self.node.get_logger().error(f"image refused ({self.refused} before): {error}")
            self.refused += 1
            return
        self._publisher.publish(
            to_detection_array(found, self._messages, header=message.header, **self._options)
        )
        self.processed += 1

    def close(self) -> None:
        """Destroy the node, and close the detector if it is the node's own. Twice is fine."""
        node, self.node = self.node, None
        if node is not None:
            node.destroy_node()
            if self._own:
                self._detector.close()


def _ros(*names: str) -> list[Any]:
    try:
        return [import_module(name) for name in names]
    except ImportError as error:
        raise MissingExtra(
            f"the ROS 2 node needs rclpy, sensor_msgs and vision_msgs ({error}); they come with ROS and not from PyPI: "
            "apt install ros-$ROS_DISTRO-vision-msgs, then source the setup.bash of ROS, in a Python environment "
            "made with --system-site-packages"
        ) from error


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the node until ROS shuts it down.

    Args:
        arguments: Those of ROS (``--ros-args ...``); None takes those of the program.
    """
    (rclpy,) = _ros("rclpy")
    rclpy.init(args=None if arguments is None else list(arguments))
    try:
        node = DetectorNode()
        try:
            rclpy.spin(node.node)
        finally:
            node.close()
    except KeyboardInterrupt:
        pass  # Ctrl-C is how a node is ended.
    finally:
        rclpy.try_shutdown()
