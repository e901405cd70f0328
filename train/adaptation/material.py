# SPDX-License-Identifier: Apache-2.0
"""The frames of a stream that ``pitviper adapt`` gathered, with their clicks and the points of believed tracks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitviper.core.datasets import DatasetError
from pitviper.core.images import IMAGE_SUFFIXES, ImageError, read_frame
from pitviper.core.material import CLICKS, MATERIAL, SCHEMA, TRACKS
from pitviper.core.points import PointLabels, read_table, require_points


@dataclass(frozen=True)
class Material:
    """What is known of a stream.

    Attributes:
        folder: Where it lies.
        facts: ``material.json``.
        clicks: Points by frame; a frame without points holds no target.
        tracks: Points of believed tracks, by frame; no frame is in both.
        number: Number of each frame in the stream.
        files: Image file of each frame.
    """

    folder: Path
    facts: dict[str, Any]
    clicks: PointLabels
    tracks: PointLabels
    number: dict[str, int]
    files: dict[str, Path]

    @property
    def second(self) -> int:
        """Frames of a second; 1 where the frames have no times."""
        return max(1, round(float(self.facts.get("fps") or 1.0)))

    def read(self, name: str) -> NDArray[Any]:
        """A frame [H, W] in its native depth.

        Raises:
            DatasetError: It cannot be read.
        """
        try:
            return read_frame(self.files[name], colour="luma")
        except ImageError as error:
            raise DatasetError(f"frame {error}") from error


def read_material(folder: Path) -> Material:
    """Read what was gathered, every frame of it included.

    Raises:
        DatasetError: It is not whole, a frame is missing or cannot be read, or a point is outside its frame.
    """
    path = folder / MATERIAL
    if not path.is_file():
        raise DatasetError(
            f"{folder} holds no {MATERIAL}; gather frames with: pitviper adapt SOURCE --points F.csv --out DIR"
        )
    try:
        facts = json.loads(path.read_text("utf-8"))
        number = {str(k): int(v) for kind in ("clicked", "tracked") for k, v in facts[kind].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path} is damaged ({error!r}); remove {folder} and gather again") from error
    if facts.get("schema") != SCHEMA:
        raise DatasetError(f"{path} has the schema {facts.get('schema')!r}, this version reads {SCHEMA}")
    clicks, tracks = (read_table(folder / f, empty=True).labels for f in (CLICKS, TRACKS))
    files = {p.stem: p for p in sorted((folder / "images").glob("*")) if p.suffix.lower() in IMAGE_SUFFIXES}
    if missing := sorted((set(clicks) | set(tracks)) - (set(files) & set(number))):
        raise DatasetError(
            f"{folder}: {missing[0]} has a label and no frame; remove the folder and gather again"
        )
    made = Material(folder, facts, clicks, tracks, number, files)
    for name, points in (clicks | tracks).items():
        height, width = made.read(name).shape
        require_points(np.asarray(points), (height, width), name=name)
    return made
