# SPDX-License-Identifier: Apache-2.0
"""Connected components of a probability map, with what is known about each target."""

from pitviper.kernels.extract_targets.op import extract_targets
from pitviper.kernels.extract_targets.targets import Targets

__all__ = ["Targets", "extract_targets"]
