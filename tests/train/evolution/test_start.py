# SPDX-License-Identifier: Apache-2.0
"""What a run from points begins with: the rule of its labels, and the frames of its two levels."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pitviper.train.evolution.start import _rule, split_frames
from pitviper.train.evolution.update import LESPS, UpdateRule
from pitviper.train.point_config import LESPSConfig, PALConfig
from pitviper.train.points.source import PointFrame

Spots = Callable[..., PointFrame]


def frames_of(spot_frame: Spots, pointed: int, bare: int) -> list[PointFrame]:
    with_points = [spot_frame(f"set/p{i}", amplitude=100) for i in range(pointed)]
    return with_points + [spot_frame(f"set/b{i}", amplitude=0, points=()) for i in range(bare)]


def test_labels_follow_the_published_rule_of_their_recipe() -> None:
    assert _rule(LESPSConfig()).update == LESPS
    assert _rule(PALConfig()).update == UpdateRule()


@pytest.mark.parametrize("seed", range(20))
def test_each_level_has_its_part_of_the_targets(spot_frame: Spots, seed: int) -> None:
    lower, upper = split_frames(frames_of(spot_frame, 6, 30), share=1 / 6, seed=seed)
    assert (len(lower), len(upper)) == (30, 6)
    assert sum(bool(len(each.points)) for each in upper) == 1


def test_a_frame_that_counts_twice_does_so_in_either_level(spot_frame: Spots) -> None:
    once = frames_of(spot_frame, 6, 0)
    lower, upper = split_frames([*once, *once], share=1 / 3, seed=0)
    assert (len(lower), len(upper)) == (8, 4)
    assert {each.frame.name for each in lower}.isdisjoint(each.frame.name for each in upper)


def test_too_few_frames_with_points_are_refused(spot_frame: Spots) -> None:
    with pytest.raises(ValueError, match="1 frames with points are too few for both levels"):
        split_frames(frames_of(spot_frame, 1, 20), share=1 / 6, seed=0)
