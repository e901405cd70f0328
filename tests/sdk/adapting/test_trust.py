# SPDX-License-Identifier: Apache-2.0
"""Which tracks are believed: clicks decide, then long, steady, smooth motion."""

from __future__ import annotations

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.adapting import TrackRule
from pitviper.sdk.adapting.choice import choose_frames, points_at
from pitviper.sdk.adapting.looking import Looked
from pitviper.sdk.adapting.trust import Trajectory, believe

FRAMES = np.arange(100, 140)


def path(
    *,
    speed: float = 0.5,
    jitter: float = 0.2,
    frames: np.ndarray = FRAMES,
    score: float = 0.9,
    number: int = 1,
) -> Trajectory:
    rng = np.random.default_rng(3)
    x = 20 + speed * (frames - frames[0]) + rng.normal(0, jitter, len(frames))
    xy = np.stack([x, np.full(len(frames), 30.5)], axis=1)
    return Trajectory(number, frames, xy, np.full(len(frames), score, np.float32))


def pixel(x: float, y: float) -> np.ndarray:
    return np.array([[int(y), int(x)]], np.int32)


NONE = np.zeros((0, 2), np.int32)


@pytest.mark.parametrize(
    ("track", "belief"),
    [
        (path(), "moving"),
        (path(speed=0.0), "unknown"),
        (path(jitter=8.0), "unknown"),
        (path(score=0.6), "unknown"),
        (path(frames=np.arange(100, 120)), "unknown"),
        (path(frames=np.arange(100, 180, 2)), "unknown"),
    ],
    ids=["steady", "stuck pixel", "jumps", "low score", "short", "half detected"],
)
def test_without_clicks_motion_decides(track: Trajectory, belief: str) -> None:
    assert believe([track], {}, TrackRule()) == {1: belief}
    far = {50: NONE, 200: pixel(20, 30)}
    assert believe([track], far, TrackRule()) == {1: belief}, "frames before and after say nothing of it"


def test_clicks_overrule_motion() -> None:
    moving, stuck = path(), path(speed=0.0)
    near, far = pixel(24, 33), pixel(60, 60)
    assert believe([moving], {110: far}, TrackRule()) == {1: "refuted"}
    assert believe([moving], {110: NONE}, TrackRule()) == {1: "refuted"}, "a frame without target too"
    assert believe([stuck], {110: pixel(20, 30)}, TrackRule()) == {1: "clicked"}
    assert believe([moving], {110: near, 120: far}, TrackRule()) == {1: "unknown"}, (
        "it went over to something else"
    )
    assert believe([moving], {110: np.concatenate([far, near])}, TrackRule()) == {1: "clicked"}


def test_a_track_is_known_between_its_detections() -> None:
    gap = path(jitter=0.0, frames=np.array([0, 1, 2, 6, 7, 30]))
    assert gap.at(4) == pytest.approx([22.0, 30.5])
    assert not gap.detected_at(4)
    assert gap.detected_at(6)
    for frame in (-1, 20, 31):
        assert gap.at(frame) is None, "too long a gap, or outside its life"


@pytest.mark.parametrize("values", [{"hits": 2}, {"detected": 1.1}, {"score": -1.0}, {"moves_px": 0.0}])
def test_rules_that_cannot_be(values: dict[str, float]) -> None:
    with pytest.raises(sdk.InputError, match="must be"):
        TrackRule(**values)  # type: ignore[arg-type]


def looked(tracks: dict[int, list[int]], trajectories: tuple[Trajectory, ...]) -> Looked:
    ids = {frame: np.array(each, np.int64) for frame, each in tracks.items()}
    names = {frame: f"f{frame}" for frame in tracks}
    return Looked(names, dict.fromkeys(tracks, (64, 64)), ids, trajectories, 25.0, False)


def test_only_decided_frames_are_chosen() -> None:
    one = path(jitter=0.0, frames=np.array([0, 1, 2, 3, 5, 6, 7, 8]))
    seen = looked(
        {0: [1], 1: [1, 2], 2: [1, 3], 3: [1, -1], 4: [], 5: [1], 6: [1], 7: [1], 8: [1], 9: []}, (one,)
    )
    beliefs = {1: "clicked", 2: "refuted", 3: "unknown"}
    chosen = choose_frames(seen, beliefs, {5: NONE}, limit=100)  # type: ignore[arg-type]
    assert chosen == [0, 1, 4, 6, 7, 8], "not 2 and 3 (undecided), 5 (clicked), 9 (nothing known)"
    few = choose_frames(seen, beliefs, {}, limit=2)  # type: ignore[arg-type]
    assert 4 in few, "the frame in which the track was missed comes first"
    assert len(few) == 2
    assert choose_frames(seen, beliefs, {}, limit=0) == []  # type: ignore[arg-type]
    assert points_at([one, one], 4, (64, 64)).tolist() == [[30, 22]], "two tracks on one pixel are one point"
    assert points_at([path(speed=50, jitter=0)], 139, (64, 64)).tolist() == [[30, 63]], (
        "never outside the frame"
    )
