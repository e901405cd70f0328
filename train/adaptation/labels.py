# SPDX-License-Identifier: Apache-2.0
"""From points on the frames of a stream to a data set with masks that can be looked at and corrected."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pitviper.core.atomic import write_whole
from pitviper.core.metrics.components import find_components
from pitviper.core.points import Points
from pitviper.train.adaptation.judge import Predict, at_points
from pitviper.train.adaptation.material import Material
from pitviper.train.adaptation.split import Split
from pitviper.train.points.initial import initial_mask

Mask = NDArray[np.bool_]

_THRESHOLD = 0.5
_LARGEST_SHARE = 0.003
_LARGEST_AREA = 81
_MOST_COPIES = 8


@dataclass(frozen=True)
class Labelled:
    """The data set of a stream.

    Attributes:
        root: Its folder.
        shapes: Points by what gave them their shape: "seen" by the package, "edges", or a "square" of 3x3.
        tracked: Frames with tracks that are part of it.
    """

    root: Path
    shapes: dict[str, int]
    tracked: tuple[str, ...]


def shape_of(
    frame: NDArray[Any], probability: NDArray[np.float32], point: Points, *, name: str
) -> tuple[str, Mask]:
    """The outline of the target at a point, and what gave it.

    Args:
        frame: Raw [H, W].
        probability: [H, W], of the package that is adapted.
        point: [1, 2], (row, column).
        name: Of the frame, for messages.

    Returns:
        "seen" and what the package sees there, unless that is more than 0.3 % of the frame; else "edges" and the
        outline that edges close around the point, bright or dark; else "square" and 3x3 pixels.
    """
    components = find_components(probability > _THRESHOLD)
    largest = max(_LARGEST_AREA, _LARGEST_SHARE * probability.size)
    chosen = at_points(components, point)[0] & (components.area <= largest)
    if chosen.any():
        return "seen", components.mask(chosen)
    found = initial_mask(frame, point, polarity="both", name=name)
    if found.accepted.all():
        return "edges", found.mask
    mask = np.zeros(probability.shape, np.bool_)
    row, column = point[0]
    mask[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = True
    return "square", mask


def write_stream(material: Material, split: Split, predict: Predict, root: Path) -> Labelled:
    """Write frames, masks and split lists in this project's layout.

    A frame with tracks of which one has neither a shape that the package sees nor edges is left out: where exactly its
    target is, is not known. The val split are the frames that judge; nothing is chosen by it.

    Raises:
        DatasetError: A frame cannot be read. OSError: The folder cannot be written.
    """
    if root.is_dir():
        shutil.rmtree(root)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    counts: Counter[str] = Counter()
    taken: list[str] = []
    labels = material.clicks | material.tracks
    for name in (*split.teach, *split.tracked, *split.judge):
        frame, points = material.read(name), labels[name]
        probability = predict(frame)
        made = [shape_of(frame, probability, points[i : i + 1], name=name) for i in range(len(points))]
        if name in material.tracks and any(kind == "square" for kind, _ in made):
            continue
        mask = np.zeros(frame.shape, np.bool_)
        for _, each in made:
            mask |= each
        if name not in split.judge:
            counts.update(kind for kind, _ in made)
            taken.append(name)
        _link(material.files[name], root / "images" / material.files[name].name)
        Image.fromarray(mask.astype(np.uint8) * 255).save(root / "masks" / f"{name}.png")
    tracked = tuple(name for name in split.tracked if name in taken)
    listed = [*taken, *_again(root, material, split.teach, len(tracked))]
    write_whole(root / "splits/train.txt", "\n".join(listed).encode())
    write_whole(root / "splits/val.txt", "\n".join(split.judge).encode())
    return Labelled(root, dict(counts), tracked)


def _again(root: Path, material: Material, clicked: Sequence[str], tracked: int) -> list[str]:
    """Further names of the clicked frames, so that they are as many as those with tracks: they alone show mistakes."""
    names = []
    for copy in range(1, min(tracked // max(len(clicked), 1), _MOST_COPIES)):
        for name in clicked:
            file = material.files[name]
            names.append(f"{name}~{copy}")
            _link(file, root / "images" / f"{names[-1]}{file.suffix}")
            _link(root / f"masks/{name}.png", root / f"masks/{names[-1]}.png")
    return names


def _link(file: Path, to: Path) -> None:
    try:
        os.link(file, to)
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(file, to)
