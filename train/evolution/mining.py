# SPDX-License-Identifier: Apache-2.0
"""Hard-sample mining: when a frame without outlines is seen well enough by the network to be trained with.

Source: Yu et al., "PAL" (ICCV 2025).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pitviper.core.points import Points
from pitviper.train.points.labels import point_mask

Mask = NDArray[np.bool_]

_THRESHOLD = 0.5
_MOST_ALARMS = 5.0
_EIGHT = np.ones((3, 3), np.bool_)


def admit(probability: NDArray[np.float32], points: Points, *, allowed_misses: float) -> Mask | None:
    """The first label of a frame that may join the training, or None while the network does not see its points.

    Args:
        probability: [H, W] of the teacher in evaluation mode.
        points: [N, 2], (row, column); a frame without points is always admitted, with an empty label.
        allowed_misses: Largest share of the points that no predicted target may hold. Beside them, as many predicted
            targets as five times the points may hold no point.

    Returns:
        bool [H, W]: the filled outlines of predicted targets that hold a point, and the points.
    """
    shape = (probability.shape[0], probability.shape[1])
    if not len(points):
        return np.zeros(shape, np.bool_)
    labels, predicted = ndimage.label(ndimage.binary_fill_holes(probability > _THRESHOLD), _EIGHT)
    at_points = labels[points[:, 0], points[:, 1]]
    hits = int((at_points > 0).sum())
    # Two points in one predicted target are two hits, so that the alarms may come out below 0.
    missed, alarms = (len(points) - hits) / len(points), (predicted - hits) / len(points)
    if missed > allowed_misses or alarms > _MOST_ALARMS:
        return None
    return np.isin(labels, at_points[at_points > 0]) | point_mask(points, shape)
