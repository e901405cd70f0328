# SPDX-License-Identifier: Apache-2.0
"""A function as an output: called for each result, its errors told and not fatal unless that is wanted."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from pitviper import sdk
from pitviper.sdk.sinks import Callback, OutputStats


def every_third(frame: Any, found: sdk.Detections) -> None:
    if found.frame_id % 3 == 0:
        raise ZeroDivisionError("in the application")


def test_each_result_once(shots: list[Any]) -> None:
    seen: list[tuple[int, int]] = []
    sink = Callback(lambda frame, found: seen.append((frame.index, len(found))))
    for shot in shots:
        sink.write(*shot)
    sink.close()
    assert seen == [(frame.index, len(found)) for frame, found in shots]
    assert sink.stats == OutputStats(12, 12)
    with pytest.raises(sdk.SinkError, match="already closed"):
        sink.write(*shots[0])


def test_errors_are_told_once_and_counted(shots: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    sink = Callback(every_third)
    with caplog.at_level(logging.ERROR, "pitviper.sinks"):
        for shot in shots:
            sink.write(*shot)
    assert sink.stats == OutputStats(12, 8, {"failed": 4})
    (told,) = caplog.records
    assert "the callback every_third raised ZeroDivisionError at frame 0" in told.getMessage()
    assert told.exc_info is not None, "with the traceback"


def test_errors_may_end_the_stream(shots: list[Any]) -> None:
    sink = Callback(every_third, on_error="raise")
    with pytest.raises(ZeroDivisionError):
        sink.write(*shots[0])
    sink.write(*shots[1])
    assert sink.stats == OutputStats(2, 1, {"failed": 1})


def test_ctrl_c_is_never_held_back(shots: list[Any]) -> None:
    def interrupted(frame: Any, found: sdk.Detections) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Callback(interrupted).write(*shots[0])


def test_arguments() -> None:
    with pytest.raises(sdk.InputError, match="must be callable"):
        Callback("print")  # type: ignore[arg-type]
    with pytest.raises(sdk.InputError, match="'log' or 'raise'"):
        Callback(print, on_error="ignore")  # type: ignore[arg-type]
