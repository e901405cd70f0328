# SPDX-License-Identifier: Apache-2.0
"""What a tracker keeps to, whatever it is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitviper import sdk
from pitviper.sdk.errors import InputError
from pitviper.sdk.tracking import false_track_probability

from .conftest import detections_at

At = Callable[..., sdk.Detections]
FPS = 25.0


def run(frames: list[Any], **values: Any) -> list[sdk.Detections]:
    """One tracker over the points of each frame, 25 frames per second."""
    tracker = sdk.Tracker(clock=FPS, **values)
    return [tracker.update(detections_at(points, number)) for number, points in enumerate(frames)]


def scene(seed: int, frames: int = 30, targets: int = 4, clutter: float = 2.0) -> list[np.ndarray]:
    """Points of moving targets that are missed now and then, among false alarms."""
    rng = np.random.default_rng(seed)
    start, velocity = rng.uniform(100, 400, (targets, 2)), rng.normal(0, 1.5, (targets, 2))
    result = []
    for number in range(frames):
        seen = rng.random(targets) < 0.85
        points = (start + velocity * number + rng.normal(0, 0.2, (targets, 2)))[seen]
        false = rng.uniform((0, 0), (640, 512), (rng.poisson(clutter), 2))
        result.append(np.concatenate([points, false]))
    return result


def test_a_target_is_confirmed_followed_and_measured() -> None:
    results = run([[[100 + 2.0 * n, 50 - 1.0 * n]] for n in range(40)])
    assert [found.track_id.tolist() for found in results[:4]] == [[-1], [-1], [1], [1]]
    assert results[1].tracks == ()
    (track,) = results[-1].tracks or ()
    assert (track.id, track.state, track.hits) == (1, "confirmed", 40)
    assert (track.x, track.y) == pytest.approx((178, 11), abs=0.05)
    assert (track.vx, track.vy) == pytest.approx((50, -25), abs=0.5)
    assert track.age_s == pytest.approx(39 / FPS)
    assert track.coasted_s == 0
    assert 0.1 < track.sigma_px < 0.5


@pytest.mark.parametrize("seed", range(3))
def test_crossing_targets_keep_their_ids(seed: int) -> None:
    rng = np.random.default_rng(seed)
    owners: dict[int, set[int]] = {0: set(), 1: set()}
    tracker = sdk.Tracker(clock=FPS)
    for number in range(60):
        # An X: the two meet in frame 30 and are one detection while they are closer than two pixels.
        a = np.array([100 + 1.5 * number, 100 + 1.0 * number]) + rng.normal(0, 0.2, 2)
        b = np.array([100 + 1.5 * number, 160 - 1.0 * number]) + rng.normal(0, 0.2, 2)
        merged = abs(a[1] - b[1]) < 2
        found = tracker.update(detections_at([(a + b) / 2] if merged else [a, b], number))
        if not merged and number >= 4:
            for target, number_of_track in enumerate(found.track_id.tolist()):
                owners[target].add(number_of_track)
    assert owners in ({0: {1}, 1: {2}}, {0: {2}, 1: {1}})


@pytest.mark.parametrize("gap", [1, 5, 12])
def test_a_gap_is_coasted_with_the_same_id(gap: int) -> None:
    points = [[[50 + 3.0 * n, 80.0]] if not 20 <= n < 20 + gap else [] for n in range(45)]
    results = run(points, max_coast_s=0.5)
    for found in results[20 : 20 + gap]:
        (track,) = found.tracks or ()
        assert (track.id, track.state) == (1, "coasting")
        assert track.x == pytest.approx(50 + 3.0 * found.frame_id, abs=1.0)
    assert results[20 + gap].track_id.tolist() == [1]
    assert results[-1].tracks[0].hits == 45 - gap  # type: ignore[index]


def test_a_track_ends_after_its_coasting_time_and_its_id_is_not_given_again() -> None:
    points: list[Any] = [[[50.0, 80.0]] if n < 20 or n >= 40 else [] for n in range(50)]
    results = run(points, max_coast_s=0.4)
    assert [bool(found.tracks) for found in results[20:40]] == [True] * 10 + [False] * 10
    assert results[45].track_id.tolist() == [2]


def test_a_young_track_coasts_no_longer_than_it_was_followed() -> None:
    results = run([[[50.0, 80.0]]] * 4 + [[]] * 10, max_coast_s=0.4)
    assert [bool(found.tracks) for found in results[4:]] == [True] * 3 + [False] * 7


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_detections_does_not_matter(seed: int) -> None:
    frames, rng = scene(seed), np.random.default_rng(seed + 100)
    orders = [rng.permutation(len(points)) for points in frames]
    plain = run(frames)
    shuffled = run([points[order] for points, order in zip(frames, orders, strict=True)])
    for one, other, order in zip(plain, shuffled, orders, strict=True):
        assert other.track_id.tolist() == one.track_id[order].tolist()
        assert other.tracks == one.tracks


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.floats(-60, 60), st.floats(-60, 60))
def test_translation_of_all_detections_translates_the_tracks(seed: int, dx: float, dy: float) -> None:
    frames = scene(seed, frames=15)
    for one, other in zip(run(frames), run([points + np.array([dx, dy]) for points in frames]), strict=True):
        assert other.track_id.tolist() == one.track_id.tolist()
        assert [(t.id, t.state, t.hits) for t in other.tracks or ()] == [
            (t.id, t.state, t.hits) for t in one.tracks or ()
        ]
        for before, after in zip(one.tracks or (), other.tracks or (), strict=True):
            # Rounding of coordinates of some hundred pixels, through some dozen products.
            assert (after.x - before.x, after.y - before.y) == pytest.approx((dx, dy), abs=1e-8)


def test_running_twice_gives_the_same() -> None:
    frames = scene(7)
    for one, other in zip(run(frames), run(frames), strict=True):
        assert other.track_id.tolist() == one.track_id.tolist()
        assert other.tracks == one.tracks


def test_the_real_time_between_frames_counts(at: At) -> None:
    """Two of three frames are dropped at times, and the times say so. Counted as if none were, the speed is wrong."""
    tracker, deceived = sdk.Tracker(), sdk.Tracker()
    for count, number in enumerate((0, 1, 2, 5, 8, 9, 12, 15, 18, 21)):
        found = at([[100 + 4.0 * number, 60.0]])
        tracker.update(found, time_s=number / FPS)
        deceived.update(found, time_s=count / FPS)
    (track,) = tracker.tracks
    assert (track.id, track.hits, track.vx) == (1, 10, pytest.approx(100.0, abs=0.5))
    assert all(abs(other.vx - 100) > 50 for other in deceived.tracks)


def test_chance_confirms_as_often_as_computed() -> None:
    """Poisson false alarms over a wide field: the share that grows into tracks, against the exact sum over sequences.

    The sum leaves out that tentative tracks compete for false alarms. A gate holds one with a probability of about
    4 % here, so the measured share may lie that much lower. Some 800 confirmed tracks have a deviation of 4 %.
    """
    density, field = 20 / 0.64, (800.0, 800.0)
    model = sdk.MotionModel(noise_px=1.0, speed_px_s=120.0)
    values: dict[str, Any] = {"confirm": (2, 3), "clutter_per_mpix": density}
    expected = false_track_probability(density, 1 / FPS, model=model, **values)
    rng, tracker = np.random.default_rng(3), sdk.Tracker(model, clock=FPS, max_coast_s=0.0, **values)
    for number in range(500):
        points = rng.uniform(0, field, (rng.poisson(20), 2))
        tracker.update(detections_at(points, number, shape=(800, 800)))
    stats = tracker.stats
    assert stats.confirmed > 500
    assert stats.confirmed / stats.started == pytest.approx(expected, rel=0.15)
    assert expected < 0.12, "a tenth of the false alarms is left"


def test_more_hits_let_less_chance_through() -> None:
    def share(confirm: tuple[int, int]) -> float:
        return false_track_probability(3.0, 1 / FPS, confirm=confirm)

    assert share((1, 1)) == 1.0
    assert share((1, 1)) > share((2, 3)) > share((3, 5)) > share((4, 6)) > 0
    assert share((3, 5)) < 1e-3
    assert false_track_probability(0.0, 0.04) == 0.0


def test_faint_detections_continue_a_track_and_begin_none() -> None:
    tracker = sdk.Tracker(clock=FPS, start_score=0.5)
    for number in range(12):
        bright = number < 4
        found = detections_at([[60.0, 60.0], [200.0, 200.0]], number, score=[0.9 if bright else 0.3, 0.3])
        found = tracker.update(found)
    assert found.track_id.tolist() == [1, -1]
    assert tracker.stats.started == 1


def test_a_moving_camera_is_told_by_its_motion(at: At) -> None:
    """The picture jumps by 30 pixels every few frames: with the motion given one track, without it several."""
    shift = np.cumsum([0.0] + [30.0 if n % 4 == 0 else 0.0 for n in range(1, 24)])
    ids: dict[bool, set[int]] = {True: set(), False: set()}
    for told in ids:
        tracker = sdk.Tracker(clock=FPS)
        for number, place in enumerate(shift):
            step = place - shift[max(number - 1, 0)]
            motion = [[1, 0, step], [0, 1, 0]] if told else None
            found = tracker.update(at([[50 + place + 1.0 * number, 70.0]], number), motion=motion)
            ids[told] |= set(found.track_id.tolist()) - {-1}
        last = tracker.tracks[-1]
        assert not told or (last.vx, last.vy) == pytest.approx((25, 0), abs=0.5), (
            "velocity is that in the scene"
        )
    assert ids[True] == {1}
    assert len(ids[False]) != 1


def test_ego_motion_comes_from_the_frame_or_is_unknown(at: At) -> None:
    seen: list[Any] = []

    def ego(frame: Any) -> Any:
        seen.append(frame)
        return None if frame == "dark" else [[1, 0, 10], [0, 1, 0]]

    tracker = sdk.Tracker(clock=FPS, ego=ego)
    results = [tracker.update(at([[50 + 10.0 * n, 70]], n), frame="frame") for n in range(4)]  # type: ignore[arg-type]
    assert results[-1].tracks[0].vx == pytest.approx(0, abs=1e-6)  # type: ignore[index]
    assert "motion_unknown" not in results[-1].flags
    found = tracker.update(at([[80.0, 70]], 4), frame="dark")  # type: ignore[arg-type]
    assert found.flags == ("motion_unknown",)
    with pytest.raises(InputError, match="needs the frame"):
        tracker.update(at([], 5))
    given = tracker.update(at([[85.0, 70]], 5), motion=[[1, 0, 5], [0, 1, 0]])
    assert (len(seen), given.flags) == (5, ()), "a given motion goes before it"


def test_hundreds_of_detections() -> None:
    rng = np.random.default_rng(0)
    start, velocity = rng.uniform(0, 2000, (400, 2)), rng.normal(0, 1, (400, 2))
    tracker = sdk.Tracker(clock=FPS)
    for number in range(12):
        points = start + velocity * number
        found = tracker.update(detections_at(points, number, shape=(2000, 2000)))
    # Of 400 targets on 4 Mpx some pairs are within a gate of each other when they begin.
    assert (found.track_id >= 0).sum() >= 395
    assert len(set(found.track_id[found.track_id >= 0].tolist())) == (found.track_id >= 0).sum()
    assert all(
        math.isfinite(value) for track in tracker.tracks for value in (track.x, track.vx, track.sigma_px)
    )


def test_equal_points_and_empty_frames() -> None:
    results = run([[[5.0, 5.0]] * 3] * 6 + [[]] * 40 + [[[5.0, 5.0]]])
    assert sorted(results[5].track_id.tolist()) == [1, 2, 3]
    assert results[-2].tracks == ()
    assert results[-1].track_id.tolist() == [-1]
    assert results[-1].tracks == ()


@pytest.mark.parametrize(
    "values",
    [
        {"confirm": (4, 3)},
        {"confirm": (0, 3)},
        {"confirm": (2.0, 3)},
        {"max_coast_s": -1.0},
        {"max_coast_s": float("nan")},
        {"gate_probability": 1.0},
        {"clutter_per_mpix": 0.0},
        {"start_score": 1.0},
        {"clock": "utc"},
    ],
)
def test_settings_that_cannot_be(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        sdk.Tracker(**values)
