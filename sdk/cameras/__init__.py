# SPDX-License-Identifier: Apache-2.0
"""What is known of thermal cameras: bits, byte order, telemetry rows, units. NumPy only.

>>> camera_profile("lepton").fps
9.0
"""

from pitviper.sdk.cameras.known import CAMERAS, camera_profile
from pitviper.sdk.cameras.profile import CameraProfile, RawLayout
from pitviper.sdk.cameras.telemetry import Telemetry

__all__ = ["CAMERAS", "CameraProfile", "RawLayout", "Telemetry", "camera_profile"]
