# SPDX-License-Identifier: Apache-2.0
"""Points that are found, false objects, and when a change is more than chance."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from pitviper.train.adaptation.judge import Judged, by_chance, judge, total
from pitviper.train.adaptation.verdict import Verdict, decide

EMPTY = np.zeros((40, 40), np.bool_)


def objects(*pixels: tuple[slice | int, slice | int]) -> np.ndarray:
    mask = EMPTY.copy()
    for rows, columns in pixels:
        mask[rows, columns] = True
    return mask


def points(*pixels: tuple[int, int]) -> np.ndarray:
    return np.array(pixels, np.int32).reshape(-1, 2)


@pytest.mark.parametrize(
    ("found", "clicked", "hits", "false"),
    [
        (objects((5, 5)), points((5, 5)), [True], 0),
        (objects((5, 5)), points((5, 7)), [True], 0),
        (objects((5, 5)), points((5, 8)), [False], 1),
        (objects((slice(0, 9), slice(0, 9))), points((0, 8)), [True], 0),
        (objects((5, 5), (30, 30)), points((5, 5), (20, 20)), [True, False], 1),
        (objects((slice(5, 7), slice(5, 9))), points((5, 5), (6, 8)), [True, True], 0),
        (objects((5, 5)), points(), [], 1),
        (EMPTY, points((0, 0)), [False], 0),
        (objects((0, 0), (39, 39)), points((0, 0), (39, 39)), [True, True], 0),
    ],
    ids=["on it", "2 px", "3 px", "covers", "one of two", "two in one", "empty frame", "nothing", "corners"],
)
def test_judge(found: np.ndarray, clicked: np.ndarray, hits: list[bool], false: int) -> None:
    judged = judge(found, clicked)
    assert judged.found.tolist() == hits
    assert judged.false_count == false
    assert (judged.false_objects & ~found).sum() == 0


def test_total_counts_points_and_objects() -> None:
    score = total(
        {"a": judge(objects((5, 5)), points((5, 5), (20, 20))), "b": judge(objects((1, 1)), points())}
    )
    assert (score.frames, score.points, score.found, score.false_objects) == (2, 2, 1, 1)
    assert score.pd == 0.5
    assert score.false_objects_per_frame == 0.5
    assert total({"b": judge(EMPTY, points())}).pd is None


def test_chance_is_that_of_every_sign() -> None:
    worse = np.array([2, 1, 0, -1, 3])
    changed = worse[worse != 0]
    sums = [np.dot(signs, changed) for signs in product((-1, 1), repeat=4)]
    assert by_chance(worse) == np.mean([value >= 5 for value in sums])
    assert by_chance(np.array([1, 1, 1, 1, 1])) == 1 / 32, "five that agree are the fewest below 5 percent"
    assert by_chance(np.array([0, 0])) == 1.0
    assert by_chance(-worse) == 1.0, "better is not worse"
    many = by_chance(np.r_[np.ones(14), -np.ones(6)].astype(int))
    assert many == pytest.approx(0.0577, abs=0.01), "binomial tail of 14 of 20; 20,000 draws deviate by 0.002"


def outcome(
    before: list[tuple[int, int]], after: list[tuple[int, int]], guard: tuple[float, float] = (0.5, 0.5)
) -> Verdict:
    """Frames with four points each: (found, false objects), before and after."""

    def judged(rows: list[tuple[int, int]]) -> dict[str, Judged]:
        return {
            str(i): Judged(np.arange(4) < hits, EMPTY, EMPTY, false) for i, (hits, false) in enumerate(rows)
        }

    metrics = [{"known": {"iou": value, "pd": value}} for value in guard]
    return decide(judged(before), judged(after), *metrics, tolerance=0.03, chance=0.1)


@pytest.mark.parametrize(
    ("before", "after", "guard", "reason"),
    [
        ([(1, 0)] * 6, [(2, 0)] * 6, (0.5, 0.5), None),
        ([(1, 2)] * 6, [(1, 1)] * 6, (0.5, 0.5), None),
        ([(2, 0)] * 6, [(1, 0)] * 6, (0.5, 0.5), "more are lost than chance explains"),
        ([(2, 0)] * 6, [(3, 1)] * 6, (0.5, 0.5), "more are added than chance explains"),
        ([(2, 1)] * 6, [(2, 1)] * 6, (0.5, 0.5), "nothing got better"),
        ([(2, 1)] * 6, [(1, 1)] + [(2, 1)] * 5, (0.5, 0.5), "nothing got better"),
        ([(2, 5)] * 6, [(1, 4)] + [(2, 4)] * 5, (0.5, 0.5), None),
        ([(2, 5)] * 6, [(1, 4)] + [(2, 5)] * 5, (0.5, 0.5), "may be chance"),
        ([(2, 1)] * 6, [(3, 2)] + [(2, 1)] * 5, (0.5, 0.5), "may be chance"),
        ([(1, 0)] * 6, [(2, 0)] * 6, (0.5, 0.46), "known: .* fell from 50.0 to 46.0 %"),
        ([(1, 0)] * 6, [(2, 0)] * 6, (0.5, 0.48), None),
    ],
)
def test_what_is_refused(
    before: list[tuple[int, int]],
    after: list[tuple[int, int]],
    guard: tuple[float, float],
    reason: str | None,
) -> None:
    verdict = outcome(before, after, guard)
    assert verdict.accepted == (reason is None), verdict.reasons
    if reason is not None:
        assert len(verdict.reasons) == 1
        with pytest.raises(ValueError, match=reason):
            raise ValueError(verdict.reasons[0])


def test_all_reasons_are_told() -> None:
    verdict = outcome([(2, 0)] * 6, [(1, 1)] * 6, (0.5, 0.3))
    assert len(verdict.reasons) == 3
