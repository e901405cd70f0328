# SPDX-License-Identifier: Apache-2.0
"""Arguments of a wrong type: an InputError that names the argument, before anything is opened."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.arguments import is_whole, require_number
from pitviper.sdk.sinks import Background, JsonLines
from pitviper.sdk.stream_settings import StreamSettings
from pitviper.sdk.tracking.kalman import MotionModel

WRONG: dict[str, Callable[[], Any]] = {
    "every": lambda: StreamSettings(every=1.5),  # type: ignore[arg-type]
    "queue": lambda: StreamSettings(queue=True, mode="all"),
    "timeout_s": lambda: StreamSettings(timeout_s=None),  # type: ignore[arg-type]
    "max_age_s": lambda: StreamSettings(mode="fresh", max_age_s="1"),  # type: ignore[arg-type]
    "first_s": lambda: sdk.Reconnect(first_s="a"),  # type: ignore[arg-type]
    "longest_s": lambda: sdk.Reconnect(first_s=2.0, longest_s=1.0),
    "factor": lambda: sdk.Reconnect(factor=math.nan),
    "give_up_s": lambda: sdk.Reconnect(give_up_s=True),
    "side": lambda: sdk.Tiling(side="a"),  # type: ignore[arg-type]
    "overlap": lambda: sdk.Tiling(overlap=100.5),  # type: ignore[arg-type]
    "confirm": lambda: sdk.Tracker(confirm=3),  # type: ignore[arg-type]
    "max_coast_s": lambda: sdk.Tracker(max_coast_s=None),  # type: ignore[arg-type]
    "clock": lambda: sdk.Tracker(clock=None),  # type: ignore[arg-type]
    "noise_px": lambda: MotionModel(noise_px="1"),  # type: ignore[arg-type]
    "per_frame": lambda: sdk.FaBudget(per_frame=False),
    "depth": lambda: Background(JsonLines("-"), depth=2.0),  # type: ignore[arg-type]
    "engine": lambda: sdk.Detector(engine=3),  # type: ignore[arg-type]
    "device": lambda: sdk.Detector(device=0),  # type: ignore[arg-type]
    "area_px": lambda: sdk.Detections.empty((32, 32)).filter(area_px=5),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_the_message_names_the_argument(name: str) -> None:
    with pytest.raises(sdk.InputError, match=rf"{name}\b.* must be .*got "):
        WRONG[name]()


def test_numbers_of_numpy_are_numbers() -> None:
    assert (
        StreamSettings(every=np.int64(2), timeout_s=np.float32(0.5), queue=np.uint8(3), mode="all").every == 2
    )  # type: ignore[arg-type]
    assert sdk.Tracker(confirm=(np.int32(2), np.int32(3))) is not None  # type: ignore[arg-type]
    assert [is_whole(each) for each in (1, np.uint8(1), True, np.True_, 1.0, "1", None)] == [True, True] + [
        False
    ] * 5


def test_bounds_are_said_and_infinity_passes_where_it_has_a_meaning() -> None:
    require_number("wait", math.inf, above=0, endless=True)
    for value in (0, math.nan, -math.inf, 1 + 0j):
        with pytest.raises(sdk.InputError, match=r"^wait must be a number above 0 seconds, got "):
            require_number("wait", value, above=0, unit="seconds", endless=True)
    for value in (-0.1, 1, math.inf):
        with pytest.raises(
            sdk.InputError, match=r"^share must be a finite number of at least 0 and below 1, got "
        ):
            require_number("share", value, least=0, below=1)


def test_conf_is_an_alias_in_streams_too(make_detector: Any) -> None:
    frames = [np.zeros((32, 32), np.uint16)]
    with make_detector() as detector:
        assert len(list(detector.stream(frames, conf=0.3))) == 1
        with pytest.raises(sdk.InputError, match="both given"):
            detector.stream(frames, conf=0.3, threshold=0.3)
        with pytest.raises(TypeError, match=r"stream\(\) got an unexpected keyword argument 'confirm'"):
            detector.stream(frames, confirm=3)
        for threshold in (False, True):
            with pytest.raises(sdk.InputError, match=r"threshold must be a probability in \[0, 1\), got "):
                detector.detect(frames[0], threshold=threshold)
