# SPDX-License-Identifier: Apache-2.0
"""What kind of target a true component is, from the frame and the mask alone: four named classes.

The classes have the names of "Learning with Semantic Priors" (arXiv 2605.14346), which does not publish its rule. The
rule here is ours, so that numbers by class cannot be compared with those of the paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from pitviper.core.metrics.components import Components, find_components
from pitviper.kernels.robust import robust_deviation

CLASSES = ("filamentary", "camouflaged", "faint", "salient")
"""Names in their order of precedence: a target has the first whose condition it meets, and every one meets the last."""

LEAST_ELONGATION = 3.0
LEAST_LENGTH = 6.0
LEAST_CLUTTER = 0.02
LEAST_SNR = 5.0
LEAST_PROMINENCE = 0.45

# Pixels that belong to no side of an edge, the reach of the ring, and that of the surroundings.
_GAP = 1
_RING = 6
_WINDOW = 32

_BOXES = (3, 9)
_FRAME = 3
_AS_BRIGHT = 0.5
_RANGE = (1.0, 99.0)
# Rounding of a frame far from 0 must neither decide a tie nor pass for noise.
_ROUNDING = 1e-9

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Window = tuple[slice, slice]


@dataclass(frozen=True)
class Characteristics:
    """Of one target; none depends on gain and offset of the frame, or on its sign.

    Attributes:
        snr: Contrast to the ring around it, in standard deviations of the ring's noise; at least 0, infinite where the
            ring has none.
        prominence: The same contrast as a share of the range of values around it; at least 0, infinite where they are
            all alike.
        elongation: Length over width, at least 1.
        length: Longer side, in pixels, of the rectangle with the same second moments.
        clutter: Share of the places around it that stand out at least half as much, in [0, 1].
    """

    snr: float
    prominence: float
    elongation: float
    length: float
    clutter: float

    @property
    def name(self) -> str:
        """Of ``CLASSES``."""
        if self.elongation >= LEAST_ELONGATION and self.length >= LEAST_LENGTH:
            return "filamentary"
        if self.clutter >= LEAST_CLUTTER:
            return "camouflaged"
        return "faint" if self.snr < LEAST_SNR or self.prominence < LEAST_PROMINENCE else "salient"


def characterise(frame: NDArray[np.generic], truth: Mask | Components) -> list[Characteristics]:
    """Characteristics of every true component, in their order.

    Args:
        frame: Raw values [H, W], finite, of any real dtype.
        truth: bool [H, W], or its components.

    Raises:
        ValueError: The shapes differ.
    """
    components = truth if isinstance(truth, Components) else find_components(truth)
    if frame.shape != components.shape:
        raise ValueError(f"frame {frame.shape} and truth {components.shape} must have one shape")
    targets = components.mask(np.ones(len(components), np.bool_))
    found = []
    for index in range(len(components)):
        y, x = np.divmod(components.pixels[components.labels == index], frame.shape[1])
        elongation, length = _shape(y, x)
        # Everything below happens in this part of the frame, with the target's pixels in its coordinates.
        part = _box(y, x, _WINDOW + _BOXES[1] // 2 + _FRAME, targets.shape)
        values, mask = np.asarray(frame[part], np.float64), targets[part]
        y, x = y - part[0].start, x - part[1].start
        contrast, noise = _contrast(values, mask, y, x)
        near = _box(y, x, _WINDOW, mask.shape)
        clutter = _clutter(-values if contrast < 0.0 else values, mask, y, x)
        around = values[near][~_grown(mask, _GAP)[near]]
        spread = float(np.subtract(*np.percentile(around, _RANGE[::-1]))) if around.size else 0.0
        size = abs(contrast)
        found.append(Characteristics(_ratio(size, noise), _ratio(size, spread), elongation, length, clutter))
    return found


def _contrast(
    values: Floats, targets: Mask, y: NDArray[np.int64], x: NDArray[np.int64]
) -> tuple[float, float]:
    """Mean of a target above the plane through its ring, and the robust deviation of the ring from that plane.

    The ring are the pixels that are 2 to 6 away, in rows or columns, and not next to any target.
    """
    own = np.zeros(targets.shape, np.bool_)
    own[y, x] = True
    rows, columns = np.nonzero(_grown(own, _RING) & ~_grown(targets, _GAP))
    if not len(rows):
        return 0.0, 0.0
    ring = values[rows, columns]
    level, middle = np.median(ring), (rows.mean(), columns.mean())

    def terms(r: NDArray[np.int64], c: NDArray[np.int64]) -> Floats:
        return np.column_stack([np.ones(len(r)), r - middle[0], c - middle[1]])

    plane = np.linalg.lstsq(terms(rows, columns), ring - level, rcond=None)[0]
    rest = ring - level - terms(rows, columns) @ plane
    offset = np.median(rest)
    above = values[y, x] - level - terms(y, x) @ plane - offset
    return float(above.mean()), robust_deviation(rest, about=offset)


def _shape(y: NDArray[np.int64], x: NDArray[np.int64]) -> tuple[float, float]:
    """Length over width, and length, of the rectangle whose second moments are those of the pixels' areas."""
    dy, dx = y - y.mean(), x - x.mean()
    moments = np.array([[dy @ dy, dy @ dx], [dy @ dx, dx @ dx]]) / len(y) + np.eye(2) / 12.0
    short, long = np.linalg.eigvalsh(moments)
    return float(np.sqrt(long / short)), float(np.sqrt(12.0 * long))


def _clutter(values: Floats, targets: Mask, y: NDArray[np.int64], x: NDArray[np.int64]) -> float:
    """Share of the places up to 32 pixels around a bright target whose local contrast is at least half of its own.

    Local contrast: the mean of a box of about the target's area less that of the frame of 3 pixels around it.
    """
    box = int(np.clip(2 * round((np.sqrt(len(y)) - 1.0) / 2.0) + 1, *_BOXES))
    outer = box + 2 * _FRAME
    centred = values - values.mean()
    inside, both = (ndimage.uniform_filter(centred, size) for size in (box, outer))
    local = inside - (both * outer**2 - inside * box**2) / (outer**2 - box**2)
    least = _AS_BRIGHT * float(local[y, x].max())
    near = _box(y, x, _WINDOW, targets.shape)
    places = local[near][~_grown(targets, box // 2 + _GAP + 1)[near]]
    return float((places >= least - _ROUNDING * abs(least)).mean()) if places.size else 0.0


def _box(y: NDArray[np.int64], x: NDArray[np.int64], reach: int, shape: tuple[int, ...]) -> Window:
    """The box of some pixels with ``reach`` more on every side, within the frame."""
    top, left = max(int(y.min()) - reach, 0), max(int(x.min()) - reach, 0)
    bottom, right = int(y.max()) + reach + 1, int(x.max()) + reach + 1
    return slice(top, min(bottom, shape[0])), slice(left, min(right, shape[1]))


def _grown(mask: Mask, reach: int) -> Mask:
    grown: Mask = ndimage.maximum_filter(mask, size=2 * reach + 1, mode="constant", cval=False)
    return grown


def _ratio(contrast: float, unit: float) -> float:
    if unit > _ROUNDING * contrast:
        return contrast / unit
    return float("inf") if contrast > 0.0 else 0.0
