# SPDX-License-Identifier: Apache-2.0
"""ROS 2: images in, detections out. The conversions need no ROS; ``python3 -m pitviper.sdk.ros`` starts the node."""

from pitviper.sdk.ros.convert import read_image, to_detection_array
from pitviper.sdk.ros.node import DetectorNode

__all__ = ["DetectorNode", "read_image", "to_detection_array"]
