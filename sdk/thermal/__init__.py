# SPDX-License-Identifier: Apache-2.0
"""What goes wrong between a scene and its raw frame: shutter, saturation, gain control, byte order, bad pixels.

NumPy only. `ThermalMonitor` looks at each frame and puts flags on results; it drops nothing on its own.
"""

from pitviper.sdk.thermal.flags import FLAGS
from pitviper.sdk.thermal.monitor import MonitorStats, Observation, ThermalMonitor
from pitviper.sdk.thermal.pixels import PixelMap

__all__ = ["FLAGS", "MonitorStats", "Observation", "PixelMap", "ThermalMonitor"]
