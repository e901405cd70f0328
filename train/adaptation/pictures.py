# SPDX-License-Identifier: Apache-2.0
"""What changed, and what it was learned from, as pictures for people."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pitviper.core.metrics.components import find_components
from pitviper.core.points import PointLabels
from pitviper.core.report.sheet import draw_window
from pitviper.train.adaptation.judge import Judged, Read
from pitviper.train.data.crops import cut_around

_WINDOW = 40
_SIDE = 200
_GAP = 12
_TEXT = 22
_INK = (32, 36, 42)


@dataclass(frozen=True)
class Place:
    """Something to look at: a frame, a pixel of it, and a word for it."""

    frame: str
    row: int
    column: int
    what: str


def changes(
    labels: PointLabels, before: Mapping[str, Judged], after: Mapping[str, Judged], *, limit: int = 12
) -> list[Place]:
    """Points lost and won, false objects new and gone, then points missed as before; the worst first."""
    kinds: dict[str, list[Place]] = {
        k: [] for k in ("lost", "new false object", "won", "false object gone", "missed")
    }
    for name, points in labels.items():
        old, new = before[name], after[name]
        for (row, column), had, has in zip(points, old.found, new.found, strict=True):
            kind = {(True, False): "lost", (False, True): "won", (False, False): "missed"}.get(
                (bool(had), bool(has))
            )
            if kind:
                kinds[kind].append(Place(name, int(row), int(column), kind))
        kinds["new false object"] += _only(name, new, old, "new false object")
        kinds["false object gone"] += _only(name, old, new, "false object gone")
    # Some of each kind, so that a hundred of one do not hide another.
    share = max(2, limit // 4)
    chosen = [place for each in kinds.values() for place in each[:share]]
    rest = [place for each in kinds.values() for place in each[share:]]
    return (chosen + rest)[:limit]


def _only(name: str, here: Judged, there: Judged, what: str) -> list[Place]:
    """False objects of one judgement that nothing of the other touches."""
    components = find_components(here.false_objects)
    places = []
    for index, (row, column) in enumerate(components.centroid_yx):
        if not (components.mask(np.arange(len(components)) == index) & there.objects).any():
            places.append(Place(name, round(float(row)), round(float(column)), what))
    return places


def draw_changes(
    places: Sequence[Place],
    read: Read,
    labels: PointLabels,
    before: Mapping[str, Judged],
    after: Mapping[str, Judged],
) -> bytes:
    """PNG: each place before and after, side by side; clicks green, what is found orange."""
    columns = [("before", lambda n: before[n].objects), ("after", lambda n: after[n].objects)]
    return _sheet(places, read, labels, columns, across=3)


def draw_labels(places: Sequence[Place], read: Read, labels: PointLabels, masks: Read) -> bytes:
    """PNG: points green and the labels that training takes for them orange."""
    return _sheet(places, read, labels, [("", masks)], across=6)


def _sheet(
    places: Sequence[Place],
    read: Read,
    labels: PointLabels,
    columns: Sequence[tuple[str, Callable[[str], NDArray[Any]]]],
    *,
    across: int,
) -> bytes:
    width = len(columns) * (_SIDE + 4) + _GAP
    height = _SIDE + 2 * _TEXT + _GAP
    across = min(across, max(1, len(places)))
    sheet = Image.new(
        "RGB", (_GAP + across * width, _GAP + -(-len(places) // across) * height), (255, 255, 255)
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for index, place in enumerate(places):
        x, y = _GAP + index % across * width, _GAP + index // across * height
        frame = read(place.frame)
        clicks = np.zeros(frame.shape, np.bool_)
        clicks[tuple(labels[place.frame].T)] = True
        for number, (title, objects) in enumerate(columns):
            windows = [_window(each, place) for each in (frame, clicks, objects(place.frame))]
            picture = draw_window(windows[0], windows[1].astype(bool), windows[2].astype(bool), side=_SIDE)
            left = x + number * (_SIDE + 4)
            sheet.paste(picture, (left, y + _TEXT))
            draw.text((left, y + 2), f"{place.what}: {title}" if title else place.what, fill=_INK, font=font)
        draw.text((x, y + _TEXT + _SIDE + 3), place.frame[-(22 * len(columns)) :], fill=_INK, font=font)
    target = io.BytesIO()
    sheet.save(target, format="PNG", optimize=True)
    return target.getvalue()


def _window(array: NDArray[Any], place: Place) -> NDArray[Any]:
    return cut_around(array, place.row, place.column, _WINDOW)
