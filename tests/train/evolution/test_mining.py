# SPDX-License-Identifier: Apache-2.0
"""When a waiting frame is admitted, with which label, and when in a run that is asked."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper.train.evolution.mining import admit
from pitviper.train.evolution.phases import Phases


def seen(*places: tuple[int, int], side: int = 3) -> NDArray[np.float32]:
    probability = np.zeros((64, 64), np.float32)
    for row, column in places:
        probability[row : row + side, column : column + side] = 0.9
    return probability


def points(*places: tuple[int, int]) -> NDArray[np.int32]:
    return np.array(places, np.int32).reshape(-1, 2)


def test_the_label_is_what_holds_a_point_and_the_points() -> None:
    label = admit(seen((10, 10), (40, 40)), points((11, 11), (20, 20)), allowed_misses=0.5)
    assert label is not None
    assert label[10:13, 10:13].all()
    assert label[20, 20]
    assert label.sum() == 10, "the target without a point is none"


def test_outlines_are_filled() -> None:
    ring = seen((10, 10), side=7)
    ring[12:15, 12:15] = 0.0
    label = admit(ring, points((13, 13)), allowed_misses=0.0)
    assert label is not None
    assert label.sum() == 49


def test_half_is_not_seen() -> None:
    assert admit(np.full((9, 9), 0.5, np.float32), points((3, 3)), allowed_misses=0.9) is None


@pytest.mark.parametrize(("allowed", "admitted"), [(0.32, False), (0.34, True), (1.0, True)])
def test_misses(allowed: float, admitted: bool) -> None:
    """One of three points is missed."""
    found = admit(seen((5, 5), (25, 25)), points((6, 6), (26, 26), (50, 50)), allowed_misses=allowed)
    assert (found is not None) == admitted


def test_alarms() -> None:
    """Of one point, five predicted targets without a point are allowed; six are not, and no epoch changes that."""
    places = [(5, 5), *((5, 12 + 7 * i) for i in range(6))]
    assert admit(seen(*places[:6]), points((6, 6)), allowed_misses=1.0) is not None
    assert admit(seen(*places), points((6, 6)), allowed_misses=1.0) is None


def test_two_points_in_one_prediction() -> None:
    label = admit(seen((5, 5)), points((5, 5), (7, 7)), allowed_misses=0.0)
    assert label is not None
    assert label.sum() == 9


def test_a_frame_without_points() -> None:
    label = admit(seen((5, 5)), points(), allowed_misses=0.0)
    assert label is not None
    assert not label.any()


def due(phases: Phases) -> tuple[list[int], list[int]]:
    epochs = range(phases.epochs)
    return [e for e in epochs if phases.updates(e)], [e for e in epochs if phases.mines(e)]


def test_the_course_of_semantic_priors() -> None:
    phases = Phases(300)
    updates, mines = due(phases)
    assert updates == list(range(65, 300, 5))
    assert mines == list(range(65, 241, 5))
    assert phases.allowed_misses(65) == pytest.approx(0.2 + 6 / 180 * 0.8)
    assert phases.allowed_misses(240) == 1.0, "the published formula gives 1.0044"


def test_the_course_of_pal() -> None:
    updates, mines = due(Phases(400, interval=1 / 80))
    assert updates == list(range(85, 400, 5))
    assert mines == list(range(85, 321, 5))


@pytest.mark.parametrize("epochs", [1, 2, 6, 30, 100])
def test_short_runs_have_every_phase(epochs: int) -> None:
    phases = Phases(epochs)
    updates, mines = due(phases)
    assert set(mines) <= set(updates)
    assert all(0.2 < phases.allowed_misses(e) <= 1.0 for e in mines)
    if epochs >= 6:
        assert 0 < len(mines) < len(updates) < epochs, "easy frames first, and no mining at the end"


def test_refusals() -> None:
    for wrong in ({"start": 0.9}, {"mine_until": 1.2}, {"interval": 0.0}, {"start": -0.1}):
        with pytest.raises(ValueError, match="shares of the run"):
            Phases(10, **wrong)
