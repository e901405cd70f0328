# SPDX-License-Identifier: Apache-2.0
"""Tracks for human eyes: where each came from, and where one is that is not seen at the moment."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from PIL import ImageDraw

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections
    from pitviper.sdk.tracking import Track

__all__ = ["Trails", "diamond_box", "track_colour"]

_Colour = tuple[int, int, int]
# Seven colours that people with any colour vision tell apart (Okabe and Ito, 2008), lightened for a dark picture.
_COLOURS: tuple[_Colour, ...] = (
    (90, 190, 255),
    (255, 180, 40),
    (60, 220, 170),
    (250, 240, 90),
    (255, 130, 70),
    (235, 150, 205),
    (150, 160, 255),
)
_SHADE = (0, 0, 0)
_DIAMOND_PX = 5


def track_colour(number: int) -> _Colour:
    """RGB colour of a track by its id."""
    return _COLOURS[number % len(_COLOURS)]


class Trails:
    """The last positions of each track, drawn as lines that are thin at their old end.

    Positions are the tracker's own, in the pixels of the frame they belong to: a moving camera bends the lines.

    Args:
        frames: How many frames a trail reaches back.
    """

    def __init__(self, frames: int = 50) -> None:
        self._frames = frames
        self._points: dict[int, deque[tuple[float, float]]] = {}

    def follow(self, detections: Detections) -> None:
        """Take in the tracks of the next frame; those that ended are forgotten."""
        points: dict[int, deque[tuple[float, float]]] = {}
        for track in detections.tracks or ():
            points[track.id] = self._points.get(track.id) or deque(maxlen=self._frames)
            points[track.id].append((track.x, track.y))
        self._points = points

    def draw(self, pen: ImageDraw.ImageDraw, detections: Detections, factor: int) -> None:
        """Draw trails, and a diamond with a cross at each coasting track; a pixel of the frame is ``factor`` wide."""
        for track in detections.tracks or ():
            line = [(x * factor, y * factor) for x, y in self._points.get(track.id, ())]
            colour = track_colour(track.id)
            for index in range(len(line) - 1):
                fresh = (index + 1) / len(line)
                shade: _Colour = tuple(round(part * (0.35 + 0.65 * fresh)) for part in colour)  # type: ignore[assignment]
                pen.line([line[index], line[index + 1]], fill=shade, width=1 if fresh < 0.5 else 2)
            if track.state == "coasting":
                _diamond(pen, track, factor)


def diamond_box(track: Track, factor: int) -> tuple[float, float, float, float]:
    """Corners of the diamond of a coasting track in the enlarged picture: left, top, right, bottom."""
    x, y, reach = track.x * factor, track.y * factor, _DIAMOND_PX * max(factor, 2)
    return x - reach, y - reach, x + reach, y + reach


def _diamond(pen: ImageDraw.ImageDraw, track: Track, factor: int) -> None:
    left, top, right, bottom = diamond_box(track, factor)
    x, y = (left + right) / 2, (top + bottom) / 2
    corners = [(x, top), (right, y), (x, bottom), (left, y), (x, top)]
    for colour, width in ((_SHADE, 3), (track_colour(track.id), 1)):
        pen.line(corners, fill=colour, width=width)
