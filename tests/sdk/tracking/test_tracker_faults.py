# SPDX-License-Identifier: Apache-2.0
"""Frames that repeat, come late, have no time or another size: each has its flag and its count."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.errors import InputError
from pitviper.sdk.sources import FrameTime

At = Callable[..., sdk.Detections]
FPS = 25.0


@pytest.fixture
def tracker(at: At) -> sdk.Tracker:
    """One that follows two targets, at frame 9."""
    made = sdk.Tracker(clock=FPS)
    for number in range(10):
        made.update(targets(at, number))
    return made


def targets(at: At, number: int, **values: object) -> sdk.Detections:
    return at([[50 + 2.0 * number, 60.0], [300.0, 200 - 1.5 * number]], number, **values)


def test_a_repeated_frame_is_labelled_and_is_no_evidence(at: At, tracker: sdk.Tracker) -> None:
    before = tracker.tracks
    found = tracker.update(targets(at, 9))
    assert found.flags == ("time_repeated",)
    assert found.track_id.tolist() == [1, 2]
    assert tracker.tracks == before
    # A false alarm in three copies of one frame was looked at once.
    for _ in range(3):
        found = tracker.update(at([[500.0, 400.0]], 9))
    assert found.track_id.tolist() == [-1]
    assert (tracker.stats.repeated, tracker.stats.started) == (4, 2)


def test_a_late_frame_is_left_out(at: At, tracker: sdk.Tracker) -> None:
    before = tracker.tracks
    found = tracker.update(targets(at, 7))
    assert found.flags == ("time_late",)
    assert found.track_id.tolist() == [-1, -1]
    assert tracker.tracks == before
    assert tracker.update(targets(at, 10)).track_id.tolist() == [1, 2]
    assert tracker.stats.late == 1


def test_a_clock_that_jumps_back_ends_all_tracks(
    at: At, tracker: sdk.Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = sdk.Tracker(clock=FPS, max_coast_s=0.1)
    for number in (*range(10), *range(4)):
        found = tracker.update(targets(at, number))
        assert found.flags == (("tracks_ended",) if number == 0 and tracker.stats.frames > 1 else ())
    assert found.track_id.tolist() == [3, 4], "ids are not given again"
    assert (tracker.stats.restarts, tracker.stats.ended) == (1, 2)
    assert "the clock jumped back; 2 tracks ended" in caplog.text


def test_a_frame_of_another_size_ends_all_tracks(at: At, tracker: sdk.Tracker) -> None:
    found = tracker.update(targets(at, 10, shape=(256, 320)))
    assert found.flags == ("tracks_ended",)
    assert found.tracks == ()
    assert [track.id for track in tracker.tracks] == [3, 4]


def test_a_frozen_picture_is_coasted_through(at: At, tracker: sdk.Tracker) -> None:
    for number in range(10, 16):
        found = tracker.update(at([[68.0, 60.0], [300.0, 186.5]], number, flags=("frozen",)))
        assert found.flags == ("frozen", "tracks_blind")
        assert found.track_id.tolist() == [-1, -1]
        assert [track.state for track in found.tracks or ()] == ["coasting", "coasting"]
    assert tracker.stats.blind == 6
    assert tracker.update(targets(at, 16)).track_id.tolist() == [1, 2]
    assert tracker.stats.started == 2


def test_a_blind_frame_is_not_one_of_the_n(at: At) -> None:
    tracker = sdk.Tracker(clock=FPS, confirm=(2, 2))
    tracker.update(at([[50.0, 50.0]], 0))
    tracker.update(at([], 1, flags=("ffc_suspected",)))
    assert tracker.update(at([[50.0, 50.0]], 2)).track_id.tolist() == [1]


def test_a_missing_time_is_guessed_and_flagged(at: At) -> None:
    tracker = sdk.Tracker()
    for number in range(8):
        stamp = None if number == 5 else round(number / FPS * 1e9)
        found = tracker.update(targets(at, number, time=FrameTime(stamp, 0, 0)))
        assert found.flags == (("time_guessed",) if number == 5 else ())
    assert found.track_id.tolist() == [1, 2]
    assert tracker.stats.guessed == 1
    assert tracker.tracks[0].vx == pytest.approx(50, abs=0.5)


def test_without_any_time_it_refuses_and_stays_as_it_was(at: At) -> None:
    tracker = sdk.Tracker()
    with pytest.raises(InputError, match="frames per second"):
        tracker.update(at([[1.0, 1.0]]))
    assert (tracker.stats.frames, tracker.tracks) == (0, ())


def test_a_bad_motion_leaves_the_tracks_as_they_were(at: At, tracker: sdk.Tracker) -> None:
    before, stats = tracker.tracks, tracker.stats
    with pytest.raises(InputError, match="motion"):
        tracker.update(targets(at, 10), motion=np.eye(3))
    assert (tracker.tracks, tracker.stats) == (before, stats)
    assert tracker.update(targets(at, 10)).flags == ()


def test_motion_told_with_a_late_or_repeated_frame_is_not_lost(at: At, tracker: sdk.Tracker) -> None:
    """The camera turns by 40 px to the late frame, back by 15 to the repeated one and by 5 to the next: 30 in all."""
    for number, shift in ((7, 40.0), (9, -15.0)):
        tracker.update(targets(at, number), motion=[[1, 0, shift], [0, 1, 0]])
    moved = targets(at, 10)
    found = tracker.update(
        at(moved.xy + np.array([30.0, 0.0]), 10),
        motion=[[1, 0, 5.0], [0, 1, 0]],
    )
    assert found.track_id.tolist() == [1, 2]
    assert tracker.tracks[0].vx == pytest.approx(50, abs=0.5)


def test_reset_is_for_another_sequence(at: At, tracker: sdk.Tracker) -> None:
    tracker.reset()
    assert tracker.tracks == ()
    for number in range(3):
        found = tracker.update(targets(at, number, shape=(600, 700)))
    assert (found.track_id.tolist(), found.flags) == ([3, 4], ())
    assert tracker.stats.restarts == 0


def test_a_long_gap_is_bridged_only_where_the_prediction_still_says_something(at: At) -> None:
    for seconds, expected in ((0.3, 1), (60.0, 2)):
        tracker = sdk.Tracker()
        times = [n / FPS for n in range(20)]
        times += [times[-1] + seconds + n / FPS for n in range(4)]
        for now in times:
            found = tracker.update(at([[100 + 50 * now, 50.0]]), time_s=now)
        assert found.track_id.tolist() == [expected]


def test_counts_add_up(at: At) -> None:
    tracker, rng = sdk.Tracker(), np.random.default_rng(0)
    for _ in range(300):
        tracker.update(at(rng.uniform(0, 500, (rng.poisson(2), 2))), time_s=float(rng.integers(0, 100)) / 10)
    stats = tracker.stats
    assert stats.frames == 300
    assert stats.started - stats.ended == len(tracker.tracks)
    assert min(stats.repeated, stats.late, stats.restarts) > 0
    assert stats.confirmed <= stats.started
