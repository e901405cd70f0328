# SPDX-License-Identifier: Apache-2.0
"""Profiles: the stages add up, and the frame is what it says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.profile import STAGES, benchmark_frame, profile_together


def test_stages_add_up(detector: sdk.Detector) -> None:
    profile = detector.profile((64, 96), seconds=0.01)
    assert tuple(profile.stages) == STAGES
    assert profile.rounds >= 10
    assert profile.targets == len(detector.detect(benchmark_frame((64, 96)))) > 0
    for spread in profile.stages.values():
        assert 0 <= spread.median <= spread.p90 <= spread.p99 <= spread.max
    assert profile.stages["total"].max >= profile.stages["network"].max
    assert 0 < profile.surroundings < 1
    values = json.loads(json.dumps(profile.to_dict()))
    assert values["stages"]["total_ms"]["median"] > 0
    assert values["machine"]["cores"] >= 1


def test_detectors_take_turns(make_detector: Callable[..., Any], engine: Any) -> None:
    order: list[str] = []

    class Noting:
        def __init__(self, name: str, inner: Any) -> None:
            self.name, self.inner = name, inner
            self.info = inner.info

        def run(self, frames: Any) -> Any:
            order.append(self.name)
            return self.inner.run(frames)

        def close(self) -> None:
            self.inner.close()

    detectors = [make_detector(engine=Noting(name, engine)) for name in "ab"]
    profiles, spreads = profile_together(
        detectors, (64, 64), seconds=0.01, others={"other": lambda: order.append("c")}
    )
    assert "".join(order).startswith("abcabc")
    assert len(profiles) == 2
    assert spreads["other"].median >= 0


def test_the_frame_is_a_sensors() -> None:
    frame = benchmark_frame((64, 80))
    assert (frame.shape, frame.dtype) == ((64, 80), np.uint16)
    assert 7000 < frame.mean() < 9000
    assert benchmark_frame((64, 80), np.uint8).dtype == np.uint8
    for shape, dtype in (((64, 16), np.uint16), ((64, 64), np.int32)):
        with pytest.raises(sdk.InputError):
            benchmark_frame(shape, dtype)


def test_no_time_is_no_profile(detector: sdk.Detector) -> None:
    with pytest.raises(sdk.InputError, match="seconds"):
        detector.profile(seconds=0)
