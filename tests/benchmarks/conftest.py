# SPDX-License-Identifier: Apache-2.0
"""Scripts of ``benchmarks/`` as modules, and a data set that a training of seconds learns something from."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark_script() -> Iterator[Callable[[str], ModuleType]]:
    """Imports a script by its name, with its neighbours at hand as when it runs; all are forgotten afterwards."""
    before = set(sys.modules)
    sys.path.insert(0, str(FOLDER))
    yield importlib.import_module
    sys.path.remove(str(FOLDER))
    for name in {path.stem for path in FOLDER.glob("*.py")} - before:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four training and two validation frames of 72x72 with one bright square each, 8 bits."""
    root = tmp_path_factory.mktemp("data") / "dots"
    rng = np.random.default_rng(0)
    for folder in ("images", "masks", "splits"):
        (root / folder).mkdir(parents=True)
    for i in range(6):
        frame, mask = rng.normal(60, 1, (72, 72)), np.zeros((72, 72), np.uint8)
        y, x = rng.integers(20, 50, 2)
        mask[y : y + 3, x : x + 3] = 255
        frame[mask > 0] += 100
        Image.fromarray(np.rint(frame).astype(np.uint8)).save(root / "images" / f"{i}.png")
        Image.fromarray(mask).save(root / "masks" / f"{i}.png")
    (root / "splits/train.txt").write_text("0\n1\n2\n3")
    (root / "splits/val.txt").write_text("4\n5")
    return root
