# SPDX-License-Identifier: Apache-2.0
"""Detections in the formats that other programs read.

Everywhere the origin is the outer corner of the top left pixel (see `pitviper.sdk.detections`), except in MOT
files, whose convention counts frames and pixels from 1.
"""

from __future__ import annotations

import json
import math
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pitviper.sdk.errors import MissingExtra

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections, Target

__all__ = ["SCHEMA", "to_coco", "to_dict", "to_json", "to_mot", "to_supervision"]

SCHEMA: Final = "pitviper.detections/1"
"""Name and version of the JSON form. Fields may be added; a changed or removed one raises the number."""


def to_dict(detections: Detections) -> dict[str, Any]:
    """Plain Python values that JSON can hold. NaN and infinities become None, and so does an unknown time.

    Centroids are rounded to 1e-4 pixel, probabilities to 1e-6, SNR to 1e-3. Behind a tracker there is a list
    ``tracks``, one entry for each confirmed or coasting track.
    """
    time = detections.time
    values = {
        "schema": SCHEMA,
        "frame_id": detections.frame_id,
        "name": detections.name,
        "shape": list(detections.shape),
        "time": {
            key: None if time is None else getattr(time, key) for key in ("sensor_ns", "host_ns", "utc_ns")
        },
        "timing": detections.timing.to_dict(),
        "threshold": detections.threshold,
        "flags": list(detections.flags),
        "targets": [_target(target) for target in detections],
    }
    if detections.tracks is not None:
        values["tracks"] = [track.to_dict() for track in detections.tracks]
    return values


def _target(target: Target) -> dict[str, Any]:
    return {
        "x": round(target.x, 4),
        "y": round(target.y, 4),
        "xyxy": list(target.xyxy),
        "score": _finite(target.score, 6),
        "mean": _finite(target.mean, 6),
        "area_px": target.area_px,
        "snr": _finite(target.snr, 3),
        "class_id": target.class_id,
        "track_id": target.track_id,
        "bad_pixel": target.bad_pixel,
    }


def _finite(value: float, digits: int) -> float | None:
    return round(value, digits) if math.isfinite(value) else None


def to_json(detections: Detections) -> str:
    """`to_dict` as one line of JSON without NaN."""
    return json.dumps(to_dict(detections), allow_nan=False, separators=(",", ":"))


def to_coco(detections: Detections, image_id: int | None = None) -> list[dict[str, Any]]:
    """Entries of a COCO results file: bbox is ``[x, y, width, height]`` in pixels.

    Args:
        detections: Targets of one image.
        image_id: Number of the image in the data set; the frame number if None.
    """
    number = detections.frame_id if image_id is None else image_id
    return [
        {
            "image_id": number,
            # COCO counts its categories from 1.
            "category_id": target.class_id + 1,
            "bbox": _xywh(target),
            "area": target.area_px,
            "score": _finite(target.score, 6),
        }
        for target in detections
    ]


def to_mot(detections: Detections) -> list[str]:
    """Lines ``frame,id,left,top,width,height,score,-1,-1,-1`` without line ends.

    The MOT challenge counts frames and pixels from 1: frame 0 is written as 1, the top left pixel has left 1.
    Without a tracker every target has a line with the id -1, which is the challenge's form for detections. Behind one
    only the targets of tracks have lines, which is its form for results; a coasting track has no box and so no line.
    """
    tracked = detections.tracks is not None or bool((detections.track_id >= 0).any())
    lines = []
    for target in detections:
        if tracked and target.track_id < 0:
            continue
        left, top, width, height = _xywh(target)
        values = (left + 1, top + 1, width, height, target.score)
        numbers = ",".join(f"{value:g}" for value in values)
        lines.append(f"{detections.frame_id + 1},{target.track_id},{numbers},-1,-1,-1")
    return lines


def _xywh(target: Target) -> list[float]:
    x0, y0, x1, y1 = target.xyxy
    return [x0, y0, x1 - x0, y1 - y0]


def to_supervision(detections: Detections) -> Any:
    """A ``supervision.Detections`` with centroid, area, SNR and index in its ``data``.

    Where a tracker ran, ``tracker_id`` has the id of each target, and -1 for one that belongs to no track.

    Raises:
        MissingExtra: The package supervision is not installed.
    """
    try:
        supervision: Any = import_module("supervision")
    except ImportError as error:
        raise MissingExtra(
            f"to_supervision() needs the package supervision ({error}); pip install 'pitviper[viz]'"
        ) from error
    tracked = detections.tracks is not None or bool((detections.track_id >= 0).any())
    return supervision.Detections(
        xyxy=np.array(detections.xyxy),
        confidence=np.array(detections.score),
        class_id=detections.class_id.astype(int),
        tracker_id=detections.track_id.astype(int) if tracked else None,
        data={
            "xy": np.array(detections.xy),
            "area_px": np.array(detections.area_px),
            "snr": np.array(detections.snr),
            "index": np.arange(len(detections)),
        },
    )
