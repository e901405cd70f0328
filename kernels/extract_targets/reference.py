# SPDX-License-Identifier: Apache-2.0
"""The definition of `extract_targets`, in NumPy and SciPy. The README beside this file gives the reasons.

Sums run over the pixels of a component in raster order in float64, as ``np.bincount`` does, so that another
implementation can give the same bits.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pitviper.kernels.extract_targets.targets import Targets
from pitviper.kernels.robust import robust_deviation

RING_GAP: Final = 2
"""Pixels around the box that the ring leaves out: a target's own blur reaches into them."""
RING_REACH: Final = 8
"""Outer Chebyshev distance of the ring from the box, in pixels."""
RING_FEWEST: Final = 8
"""A ring of fewer pixels says nothing about the noise; the contrast is then NaN."""


def extract_targets_reference(
    probability: npt.NDArray[np.float32],
    frame: npt.NDArray[Any] | None,
    threshold: float,
    max_targets: int,
) -> Targets:
    """The targets of one finite map [H, W]; ``frame`` is the raw frame [H, W] or None."""
    from scipy import ndimage  # takes longer to import than NumPy, and the compiled code does without

    mask = probability.astype(np.float64) > threshold
    labels, total = ndimage.label(mask, structure=np.ones((3, 3)))
    labels = _in_raster_order(labels)
    index = labels[mask] - 1
    values = probability[mask].astype(np.float64)
    rows, columns = np.nonzero(mask)
    area = np.bincount(index, minlength=total)
    weight = np.bincount(index, weights=values, minlength=total)
    x = np.bincount(index, weights=values * (columns + 0.5), minlength=total)
    y = np.bincount(index, weights=values * (rows + 0.5), minlength=total)
    peak = np.zeros(total)
    np.maximum.at(peak, index, values)
    kept = _select(peak, weight / area, max_targets)
    boxes = np.array(
        [(c.start, r.start, c.stop, r.stop) for r, c in ndimage.find_objects(labels)], np.int64
    ).reshape(total, 4)
    snr = np.full(len(kept), np.nan)
    if frame is not None:
        snr[:] = [contrast(frame, mask, labels == k + 1, boxes[k]) for k in kept]
    return Targets(
        xy=np.stack([x / weight, y / weight], axis=1)[kept],
        xyxy=boxes[kept].astype(np.float32),
        area=area[kept].astype(np.int32),
        peak=peak[kept].astype(np.float32),
        mean=(weight / area)[kept].astype(np.float32),
        snr=snr.astype(np.float32),
        truncated=total > max_targets,
        total=total,
    )


def _in_raster_order(labels: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The same components numbered from 1 in raster order of their first pixel."""
    present, first = np.unique(labels, return_index=True)
    components = present > 0
    renumbered = np.zeros(int(labels.max()) + 1, np.int32)
    renumbered[present[components][np.argsort(first[components])]] = np.arange(1, components.sum() + 1)
    return renumbered[labels]


def _select(peak: npt.NDArray[np.float64], mean: npt.NDArray[np.float64], most: int) -> npt.NDArray[np.intp]:
    """Indices of the ``most`` highest peaks, ties by mean, then by position; in raster order."""
    best_first = np.lexsort((np.arange(len(peak)), -mean, -peak))
    return np.sort(best_first[:most])


def contrast(
    frame: npt.NDArray[Any],
    mask: npt.NDArray[np.bool_],
    component: npt.NDArray[np.bool_],
    box: npt.NDArray[np.int64],
) -> float:
    """Signed contrast of a component to the ring around its box, in robust noise deviations.

    The ring holds the pixels of the frame at a Chebyshev distance of 3 to 8 from the box that belong to no
    component. ``(extreme - median) / (1.4826 MAD)``, where extreme is the component's value farthest from the
    median (the higher one on a tie). Where the MAD is 0, the root mean square distance from the median takes
    its place; where that is 0 too, the contrast is 0 for an extreme at the median and otherwise infinite
    with its sign.

    Args:
        frame: [H, W] raw values.
        mask: [H, W], pixels of any component.
        component: [H, W], pixels of this one.
        box: left, top, right, bottom, half open.
    """
    left, top, right, bottom = (int(edge) for edge in box)
    outer = np.zeros(mask.shape, np.bool_)
    outer[_from(top, RING_REACH) : bottom + RING_REACH, _from(left, RING_REACH) : right + RING_REACH] = True
    outer[_from(top, RING_GAP) : bottom + RING_GAP, _from(left, RING_GAP) : right + RING_GAP] = False
    ring = frame[outer & ~mask].astype(np.float64)
    if ring.size < RING_FEWEST:
        return float("nan")
    centre = float(np.median(ring))
    values = frame[component].astype(np.float64)
    high, low = float(values.max()) - centre, float(values.min()) - centre
    excess = high if high >= -low else low
    distances = np.abs(ring - centre)
    deviation = robust_deviation(ring, about=centre)
    if deviation == 0.0:
        deviation = float(np.sqrt(np.mean(distances**2)))
    if deviation == 0.0:
        return float(np.copysign(np.inf, excess)) if excess else 0.0
    return excess / deviation


def _from(edge: int, distance: int) -> int:
    return max(edge - distance, 0)
