# SPDX-License-Identifier: Apache-2.0
"""Where masks lie relative to the light of their targets.

Some public masks lie to one side: by half a pixel up and left in four of ten train frames of NUDT-SIRST that can be
measured. A crop that is turned or mirrored shows such a mask on another side each time, so a network learns none of
them; on such frames that costs 15 points of IoU (decision 18).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pitviper.train.data.store import StoredFrame

_RING_PX = 2
_MARGIN_PX = 4
_LARGEST_AREA = 120
_LEAST_CONTRAST = 4.0
_FLOOR = 0.15
_EIGHT = np.ones((3, 3), np.int8)

LEAST_TARGETS = 20
"""Fewer say nothing about a data set."""
NOTABLE_PX = 0.1
"""Smaller offsets are lost in the rounding of masks to whole pixels."""


@dataclass(frozen=True)
class MaskOffset:
    """Mean over the targets of a data set of (centroid of the mask - centroid of the light), in pixels.

    Attributes:
        rows: Positive where masks lie too low.
        columns: Positive where masks lie too far to the right.
        half_width: Of the 95 % interval of either, over frames.
        targets: That stand out enough to be measured.
    """

    rows: float
    columns: float
    half_width: float
    targets: int

    @property
    def notable(self) -> bool:
        """Whether the masks lie to one side by more than ``NOTABLE_PX`` and more than chance."""
        farthest = max(abs(self.rows), abs(self.columns))
        return self.targets >= LEAST_TARGETS and farthest - self.half_width > NOTABLE_PX

    def __str__(self) -> str:
        down, right = "down" if self.rows > 0 else "up", "right" if self.columns > 0 else "left"
        return (
            f"{abs(self.rows):.2f} px {down} and {abs(self.columns):.2f} px {right} (+-{self.half_width:.2f})"
        )


def mask_offsets(frames: Iterable[StoredFrame]) -> dict[str, MaskOffset]:
    """The offset of the masks of each data set that has targets to measure.

    A target counts when it is compact (120 pixels at most), away from the border and from other targets, and stands
    out from a ring around it by four standard deviations of that ring; its light is what exceeds the ring's median by
    15 % of its peak, bright or dark. A frame that comes several times counts once.
    """
    found: dict[str, dict[str, NDArray[np.float64]]] = defaultdict(dict)
    for frame in frames:
        if frame.name not in found[frame.dataset]:
            found[frame.dataset][frame.name] = target_offsets(frame)
    measured = {}
    for dataset, by_frame in found.items():
        means = np.array([each.mean(axis=0) for each in by_frame.values() if len(each)])
        if len(means) > 1:
            half_width = 1.96 * float(means.std(axis=0, ddof=1).max()) / np.sqrt(len(means))
            count = sum(map(len, by_frame.values()))
            rows, columns = means.mean(axis=0)
            measured[dataset] = MaskOffset(float(rows), float(columns), float(half_width), count)
    return measured


def target_offsets(frame: StoredFrame) -> NDArray[np.float64]:
    """(rows, columns) from the light to the mask of each target of a frame that can be measured, [N, 2] in pixels."""
    return np.array(list(_offsets(frame)), np.float64).reshape(-1, 2)


def offset_remark(dataset: str, offset: MaskOffset) -> str:
    """What somebody who trains with such masks has to know."""
    return (
        f"the masks of {dataset} lie {offset} of the light of their targets, in the mean of {offset.targets}. "
        "Crops are turned and mirrored, so a network cannot learn to which side: correct the masks, or give "
        f"pitviper-train --upright {dataset} to learn them as they are (positions in such frames then lie there too)"
    )


def _offsets(frame: StoredFrame) -> Iterator[tuple[float, float]]:
    labels, _ = ndimage.label(frame.mask > 0.5, _EIGHT)
    height, width = labels.shape
    for index, box in enumerate(ndimage.find_objects(labels), start=1):
        rows, columns = (slice(s.start - _MARGIN_PX, s.stop + _MARGIN_PX) for s in box)
        if min(rows.start, columns.start) < 0 or rows.stop > height or columns.stop > width:
            continue
        window, target = frame.image[rows, columns].astype(np.float32), labels[rows, columns]
        if target.max() == target[target > 0].min() and (target > 0).sum() <= _LARGEST_AREA:
            offset = _offset(window, target == index)
            if offset is not None:
                yield offset


def _offset(window: NDArray[np.float32], target: NDArray[np.bool_]) -> tuple[float, float] | None:
    ring = np.ones_like(target)
    ring[_RING_PX:-_RING_PX, _RING_PX:-_RING_PX] = False
    above = window - np.median(window[ring])
    above *= np.sign(above[target].mean())
    if above[target].mean() < _LEAST_CONTRAST * window[ring].std():
        return None
    light = np.where(above > _FLOOR * above.max(), above, 0.0)
    if not light.any():
        return None
    mask_centre, light_centre = ndimage.center_of_mass(target), ndimage.center_of_mass(light)
    return mask_centre[0] - light_centre[0], mask_centre[1] - light_centre[1]
