# SPDX-License-Identifier: Apache-2.0
"""From a recorded stream and a handful of clicks to what a detector can be adapted with. Needs no torch.

>>> from pitviper.sdk.adapting import gather
"""

from pitviper.sdk.adapting.material import Gathered, gather
from pitviper.sdk.adapting.trust import TrackRule

__all__ = ["Gathered", "TrackRule", "gather"]
