# SPDX-License-Identifier: Apache-2.0
"""Trackers of Supervision behind our interface: each id reaches the detection that it belongs to."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.errors import InputError
from pitviper.sdk.tracking import SupervisionTracker

At = Callable[..., sdk.Detections]


class Result(SimpleNamespace):
    def __len__(self) -> int:
        return len(self.xyxy)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module named supervision, with as much of its Detections as the conversion needs."""
    module = ModuleType("supervision")
    module.Detections = Result  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "supervision", module)


@pytest.mark.usefixtures("stand_in")
def test_ids_come_back_to_their_detections(at: At) -> None:
    def chosen(given: Any) -> Any:
        order = np.array([2, 0])
        return Result(
            xyxy=given.xyxy[order],
            data={"index": given.data["index"][order]},
            tracker_id=np.array([7, 4]),
        )

    tracker = SupervisionTracker(SimpleNamespace(update_with_detections=chosen))
    found = tracker.update(at([[10, 10], [20, 20], [30, 30]]))
    assert found.track_id.tolist() == [4, -1, 7]
    assert found.xy[:, 0].tolist() == [10, 20, 30]


@pytest.mark.usefixtures("stand_in")
def test_nothing_returned_and_data_lost(at: At) -> None:
    nothing = SimpleNamespace(update=lambda given: Result(xyxy=[], data={}, tracker_id=np.empty(0, int)))
    assert SupervisionTracker(nothing).update(at([[1, 1]])).track_id.tolist() == [-1]
    lossy = SimpleNamespace(update=lambda given: Result(xyxy=given.xyxy, data={}, tracker_id=np.array([1])))
    with pytest.raises(InputError, match="index"):
        SupervisionTracker(lossy).update(at([[1, 1]]))
    with pytest.raises(InputError, match="neither update_with_detections nor update"):
        SupervisionTracker(object())


def test_bytetrack_follows_what_overlaps(at: At) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        supervision = pytest.importorskip(
            "supervision", reason="the package supervision (extra viz) is not installed"
        )
        if not hasattr(supervision, "ByteTrack"):
            pytest.skip(f"supervision {supervision.__version__} has no ByteTrack any more; trackers has it")
        tracker = SupervisionTracker(supervision.ByteTrack(minimum_consecutive_frames=2))
        left: set[int] = set()
        for number in range(8):
            points = np.array([[100 + number, 100], [400 - number, 300]], float)
            found = at(points, number, xyxy=np.concatenate([points - 10, points + 10], axis=1))
            # In turn, so that an id that went to the wrong index would show.
            found = tracker.update(found[[1, 0]] if number % 2 else found)
            if number >= 3:
                assert sorted(found.track_id.tolist()) == [1, 2]
                left |= set(found.track_id[found.xy[:, 0] < 250].tolist())
        assert len(left) == 1
