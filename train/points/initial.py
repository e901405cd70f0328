# SPDX-License-Identifier: Apache-2.0
"""First masks from points: an outline around each, where one is found.

Source: the edge procedure of Yu et al., "PAL" (ICCV 2025), for 8-bit pictures with bright targets; deeper frames, dark
targets and the level set instead of edges are this project's addition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitviper.core.datasets import DatasetError
from pitviper.core.points import Points, require_points
from pitviper.kernels.robust import robust_deviation
from pitviper.train.points.edges import canny, close, high_pass, outline_area, outline_around
from pitviper.train.points.labels import point_mask
from pitviper.train.points.level import level_outline

POLARITIES = ("bright", "dark", "both")
OUTLINES = ("edges", "level")

_REACH = 10
_CANNY = (20, 40)
_LARGEST_AREA = 50.0

# A patch of deep pixels: its median becomes _BACKGROUND, and _BACKGROUND to 255 span at least _NOISE_SPAN deviations of
# its noise, so that noise stays well below Canny's thresholds, and at most what lies at the point.
_BACKGROUND = 64
_NOISE_SPAN = 48.0


@dataclass(frozen=True)
class InitialMask:
    """What was found around the points of one frame.

    Attributes:
        mask: bool [H, W], the union of the outlines.
        accepted: bool [N], the points that an outline closes around.
    """

    mask: NDArray[np.bool_]
    accepted: NDArray[np.bool_]

    @property
    def share(self) -> float:
        """Share of the points that were accepted; 1 for a frame without points."""
        return float(self.accepted.mean()) if len(self.accepted) else 1.0


def initial_mask(
    frame: NDArray[Any],
    points: Points,
    *,
    outline: str = "edges",
    polarity: str = "bright",
    name: str = "frame",
) -> InitialMask:
    """Find the outline around each point of a frame.

    Two points inside one outline are both accepted, and share its mask.

    Args:
        frame: [H, W]. For edges uint8 is taken as it is, and other types are mapped to 8 bits around each point by a
            robust range, so that neither gain nor offset matters.
        points: [N, 2], (row, column).
        outline: What closes around a point: "edges", as published, or a "level" set of the pixels; see ``level.py``.
        polarity: Targets are "bright" or "dark" against what surrounds them, or "both" may be: then each
            is what the 3x3 pixels at its point are against the median of the patch.
        name: Of the frame, for messages.

    Raises:
        DatasetError: A point outside the frame, two on one pixel, or values that are not finite around a point.
        ValueError: Unknown outline or polarity.
    """
    for what, value, allowed in (("outline", outline, OUTLINES), ("polarity", polarity, POLARITIES)):
        if value not in allowed:
            raise ValueError(f"{what} must be one of {', '.join(allowed)}, got {value!r}")
    require_points(points, (frame.shape[0], frame.shape[1]), name=name)
    merged = np.zeros(frame.shape, np.bool_)
    accepted = np.zeros(len(points), np.bool_)
    for index, (row, column) in enumerate(points):
        top, left = max(row - _REACH, 0), max(column - _REACH, 0)
        window = (slice(top, row + _REACH), slice(left, column + _REACH))
        patch = frame[window]
        if not np.isfinite(patch).all():
            raise DatasetError(
                f"{name}: pixels around the point at row {row}, column {column} are not finite; repair the frame or "
                "leave it out"
            )
        centre = (int(row - top), int(column - left))
        found = _OUTLINED[outline](patch, centre, _sign(patch, centre, polarity))
        if found is not None:
            merged[window] |= found
            accepted[index] = True
    return InitialMask(merged, accepted)


def easy_mask(found: InitialMask, points: Points, *, least_share: float = 0.8) -> NDArray[np.bool_] | None:
    """The mask of outlines and points of a frame that is easy, or None for one that waits to be learned.

    Args:
        found: Of the frame.
        points: [N, 2] of the same frame.
        least_share: Share of the points that must have been accepted; below 0 every frame is easy, and a point without
            outline stays a single pixel.
    """
    if found.share < least_share:
        return None
    return found.mask | point_mask(points, (found.mask.shape[0], found.mask.shape[1]))


def _sign(patch: NDArray[Any], centre: tuple[int, int], polarity: str) -> int:
    if polarity == "both":
        return 1 if _around(patch, centre).mean() >= np.median(patch) else -1
    return 1 if polarity == "bright" else -1


def _around(patch: NDArray[Any], centre: tuple[int, int]) -> NDArray[Any]:
    row, column = centre
    return patch[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]


def _edges(patch: NDArray[Any], centre: tuple[int, int], sign: int) -> NDArray[np.bool_] | None:
    outline = outline_around(close(canny(high_pass(_to_gray(patch, centre, sign)), *_CANNY)), *centre)
    return None if outline is None or outline_area(outline) > _LARGEST_AREA else outline


def _level(patch: NDArray[Any], centre: tuple[int, int], sign: int) -> NDArray[np.bool_] | None:
    return level_outline(sign * patch.astype(np.float64), *centre)


_OUTLINED = {"edges": _edges, "level": _level}


def _to_gray(patch: NDArray[Any], centre: tuple[int, int], sign: int) -> NDArray[np.uint8]:
    """The patch as 8 bits, targets bright."""
    if patch.dtype == np.uint8:
        gray: NDArray[np.uint8] = patch if sign > 0 else 255 - patch
        return gray
    values = sign * patch.astype(np.float64)
    median = np.median(values)
    noise = robust_deviation(values, about=median)
    span = max(_NOISE_SPAN * noise, _around(values, centre).max() - median)
    if span <= 0.0:
        return np.full(patch.shape, _BACKGROUND, np.uint8)
    scaled = np.rint(_BACKGROUND + (values - median) * ((255 - _BACKGROUND) / span))
    clipped: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return clipped
