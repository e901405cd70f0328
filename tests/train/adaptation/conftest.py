# SPDX-License-Identifier: Apache-2.0
"""What ``pitviper adapt`` gathers from a stream, made by hand, and a package that misses its faint targets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pitviper.core.points import write_points
from pitviper.sdk.model import SHIPPED

SIDE = 64


def spot(index: int, peak: int) -> tuple[NDArray[np.uint16], tuple[int, int]]:
    """A frame of 14-bit counts with one target of about 9 pixels, and the pixel of its centre."""
    rng = np.random.default_rng(index)
    row, column = (int(value) for value in rng.integers(12, SIDE - 12, 2))
    rows, columns = np.mgrid[:SIDE, :SIDE]
    light = peak * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 3)
    return (7800 + light + rng.normal(0, 12, light.shape)).astype(np.uint16), (row, column)


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 24 frames, 10 apart, 18 are clicked and hold a faint target, and 6 have tracks."""
    root = tmp_path_factory.mktemp("stream") / "material"
    (root / "images").mkdir(parents=True)
    clicked, tracked = {}, {}
    for index in range(24):
        followed = index % 4 == 3
        frame, pixel = spot(index, 400 if followed else 80)
        name = f"cam-{10 * index:06d}"
        Image.fromarray(frame).save(root / "images" / f"{name}.png")
        (tracked if followed else clicked)[name] = np.array([pixel], np.int32)
    write_points(root / "clicks.csv", clicked)
    write_points(root / "tracks.csv", tracked)
    facts = {
        "schema": "pitviper.material/1",
        "source": "replay://cam",
        "frames": 240,
        "fps": None,
        "clicked": {name: int(name[-6:]) for name in clicked},
        "tracked": {name: int(name[-6:]) for name in tracked},
        "clicks": len(clicked),
        "tracks": {"clicked": 1, "moving": 0, "refuted": 0, "unknown": 0},
    }
    (root / "material.json").write_text(json.dumps(facts))
    return root


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the shipped pit-n, which sees none of the faint targets."""
    return Path(shutil.copytree(SHIPPED / "pit-n", tmp_path / "pit-n"))
