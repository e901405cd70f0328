# SPDX-License-Identifier: Apache-2.0
"""A toy engine and package, so that the SDK is tested without trained weights."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.core.manifest import Manifest, OperatingPoint, Package
from pitviper.kernels import NORMALISATION
from pitviper.sdk.engines import EngineInfo

STRIDE = 8


class BlobEngine:
    """Bright pixels are targets. Looks one pixel far, and one stride block far in phase with the frame."""

    info = EngineInfo("toy", "1", "cpu", "fp32", 1)

    def __init__(self) -> None:
        self.shapes: deque[tuple[int, ...]] = deque(maxlen=64)
        self.closed = False

    def run(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        assert frames.flags.c_contiguous
        assert frames.dtype == np.float32
        self.shapes.append(frames.shape)
        count, _, height, width = frames.shape
        blocks = frames.reshape(count, 1, height // STRIDE, STRIDE, width // STRIDE, STRIDE).max((3, 5))
        wide = np.repeat(np.repeat(blocks, STRIDE, 2), STRIDE, 3)
        padded = np.pad(frames, ((0, 0), (0, 0), (1, 1), (1, 1)))
        cross = padded[:, :, :-2, 1:-1] + padded[:, :, 2:, 1:-1]
        logit = np.clip(frames - 6.0 + 0.01 * wide + 0.01 * cross, -30, 30)
        result: NDArray[np.float32] = (1 / (1 + np.exp(-logit))).astype(np.float32)
        return result

    def close(self) -> None:
        self.closed = True


def toy_package(**changes: Any) -> Package:
    point = OperatingPoint("default", 0.5, "toy", 1.0, 0.0, 0.0)
    values: dict[str, Any] = {
        "name": "toy",
        "architecture": {"name": "toy", "version": "1", "config": {}},
        "normalisation": NORMALISATION,
        "stride": STRIDE,
        "operating_points": (point,),
        "metrics": {},
        "training": {},
        "data": (),
        "licence": "Apache-2.0",
        "provenance": "made by hand",
    }
    return Package(Path("toy"), Manifest(**{**values, **changes}), {})


@pytest.fixture
def engine() -> BlobEngine:
    return BlobEngine()


@pytest.fixture
def make_detector(engine: BlobEngine) -> Callable[..., sdk.Detector]:
    def make(**values: Any) -> sdk.Detector:
        settings: dict[str, Any] = {"engine": engine, "warmup": False, **values}
        return sdk.Detector(toy_package(), **settings)

    return make


@pytest.fixture
def detector(make_detector: Callable[..., sdk.Detector]) -> sdk.Detector:
    return make_detector()


@pytest.fixture
def plant() -> Callable[..., NDArray[np.uint16]]:
    """A noisy uint16 frame with square targets: ``plant((96, 128), {(row, column): side})``."""

    def make(
        shape: tuple[int, int], targets: dict[tuple[int, int], int], seed: int = 0, contrast: int = 600
    ) -> NDArray[np.uint16]:
        frame = np.random.default_rng(seed).normal(7800, 12, shape)
        for (row, column), side in targets.items():
            frame[row : row + side, column : column + side] += contrast
        return frame.astype(np.uint16)

    return make
