# SPDX-License-Identifier: Apache-2.0
"""Small recordings, made with the toy engine of the SDK's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.sdk.record import Recorder, Setup

Make = Callable[..., Path]


@pytest.fixture
def pictures(plant: Callable[..., NDArray[np.uint16]]) -> list[NDArray[np.uint16]]:
    """Twelve frames: targets of 1, 2 and 9 pixels, one of them moving, and empty frames between."""
    return [
        plant(
            (96, 128), {} if index % 5 == 4 else {(20 + index, 30): 1, (50, 60): 2, (70, 90): 9}, seed=index
        )
        for index in range(12)
    ]


@pytest.fixture
def record(tmp_path: Path, make_detector: Callable[..., sdk.Detector], pictures: list[Any]) -> Make:
    """`record(encoding)` makes a recording of the pictures and returns its folder."""

    def make(encoding: str = "raw", *, frames: Any = None, count: int = 0, **others: Any) -> Path:
        folder = tmp_path / f"recording-{encoding}"
        with make_detector() as detector:
            setup = Setup.of(detector, **others)
            recorder = Recorder(folder, encoding=encoding, setup=setup)
            monitor = None if setup.monitor is None else sdk.ThermalMonitor(**setup.monitor)
            tracker = None if setup.tracker is None else sdk.Tracker(**setup.tracker)
            given = pictures if frames is None else frames
            with detector.stream(given, sinks=[recorder], monitor=monitor, tracker=tracker) as stream:
                assert len(list(stream)) == (count or len(given))
        return folder

    return make
