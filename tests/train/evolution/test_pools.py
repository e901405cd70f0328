# SPDX-License-Identifier: Apache-2.0
"""The pools: what begins, what waits, what moves, and a state that comes back bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper.train.evolution.pools import LabelPools, PoolRule
from pitviper.train.evolution.update import LESPS
from pitviper.train.points.source import PointFrame

SPOTS = ((12, 12), (40, 44))
MakePools = Callable[..., LabelPools]


@pytest.fixture
def pools(spot_frame: Callable[..., PointFrame]) -> Callable[..., LabelPools]:
    """Makes pools of a frame that edges label (twice), one that they do not, and one without points."""
    frames = [
        spot_frame("s/bright", amplitude=100),
        spot_frame("s/weak", amplitude=20),
        spot_frame("s/empty", amplitude=20, points=()),
    ]
    return lambda **rule: LabelPools([*frames, frames[0]], PoolRule(**rule))


def perfect(image: NDArray[Any]) -> NDArray[np.float32]:
    """Probability 0.9 in 5x5 around each spot."""
    probability = np.zeros(image.shape, np.float32)
    for row, column in SPOTS:
        probability[row - 2 : row + 3, column - 2 : column + 3] = 0.9
    return probability


def test_easy_frames_begin(pools: MakePools) -> None:
    found = pools()
    assert [f.name for f in found.training_frames()] == ["s/bright", "s/empty", "s/bright"]
    bright, empty, again = found.training_frames()
    assert bright is again
    assert bright.mask.dtype == np.bool_
    assert bright.mask.sum() == len(bright.targets) == 18
    assert not empty.mask.any()
    told = {"selected": 2, "waiting": 1, "label_iou": 1.0, "label_niou": 1.0, "label_area": 1.0}
    assert found.describe() == told


def test_every_frame_begins_with_a_share_below_zero_or_from_points(pools: MakePools) -> None:
    weak = {f.name: f for f in pools(least_share=-1.0).training_frames()}["s/weak"]
    assert weak.targets.tolist() == [list(p) for p in SPOTS], "rejected points are single pixels"
    lesps = pools(from_points=True, soft=True, update=LESPS).training_frames()
    assert len(lesps) == 4
    assert lesps[0].mask.sum() == 2
    assert lesps[0].mask.dtype == np.float16


def test_a_mined_frame_stays(pools: MakePools) -> None:
    found = pools()
    assert found.mine(lambda image: perfect(image) * 0, allowed_misses=0.9) == 0
    assert found.mine(perfect, allowed_misses=0.0) == 1
    names = [f.name for f in found.training_frames()]
    assert names == ["s/bright", "s/weak", "s/empty", "s/bright"]
    weak = found.training_frames()[1]
    assert weak.mask.sum() == 50
    assert found.mine(perfect, allowed_misses=1.0) == 0
    assert found.describe()["waiting"] == 0


def test_updates_grow_and_decay(pools: MakePools) -> None:
    found = pools()
    for _ in range(3):
        found.update(perfect)
    assert found.training_frames()[0].mask.sum() == 50, "grown to what the network sees"
    for _ in range(60):
        found.update(lambda image: perfect(image) * 0)
    assert found.training_frames()[0].targets.tolist() == [list(p) for p in SPOTS]
    labels = found.labels["s/bright"]
    assert labels.dtype == np.float16
    assert 0 < labels[12, 13] < 0.2, "decay does not stop at 16/255 of 1, as it would in 8 bits"
    held = pools(protect="initial")
    for _ in range(60):
        held.update(lambda image: perfect(image) * 0)
    assert held.training_frames()[0].mask.sum() == 18


def test_labels_that_grow_are_told(pools: MakePools) -> None:
    """Beside the truth: 9 of the 25 pixels of each square that the network sees."""
    found = pools()
    truth = found.frames["s/bright"].truth
    assert truth is not None
    for _ in range(3):
        found.update(perfect)
    seen, true = perfect(truth) > 0.5, int(truth.sum())
    told = found.describe()
    assert told["label_area"] == pytest.approx(seen.sum() / true)
    assert (
        told["label_iou"] == told["label_niou"] == pytest.approx((seen & truth).sum() / (seen | truth).sum())
    )


def test_frames_without_points_are_not_asked_for(pools: MakePools) -> None:
    asked = []

    def predict(image: NDArray[Any]) -> NDArray[np.float32]:
        asked.append(image)
        return perfect(image)

    found = pools()
    found.update(predict)
    assert len(asked) == 1
    assert not found.labels["s/empty"].any()


def test_a_failing_prediction_changes_nothing(pools: MakePools) -> None:
    found = pools(least_share=-1.0)
    before = {name: label.copy() for name, label in found.labels.items()}
    answers = iter([perfect(before["s/bright"]), np.full((64, 64), np.nan, np.float32)])
    with pytest.raises(ValueError, match="not finite"):
        found.update(lambda image: next(answers))
    assert all(np.array_equal(found.labels[name], before[name]) for name in before)


@pytest.mark.parametrize("protect", ["points", "initial"])
def test_state_comes_back(protect: str, pools: MakePools) -> None:
    first, second = pools(protect=protect), pools(protect=protect)
    first.update(perfect)
    first.mine(perfect, allowed_misses=0.0)
    second.load_state_dict({k: v.clone() for k, v in first.state_dict().items()})
    assert first.describe() == second.describe()
    for pool in (first, second):
        pool.update(lambda image: perfect(image) * 0.5)
    for name, label in first.labels.items():
        assert np.array_equal(label, second.labels[name])
    frames = zip(first.training_frames(), second.training_frames(), strict=True)
    assert all(a.name == b.name and np.array_equal(a.mask, b.mask) for a, b in frames)


def test_frames_that_join_later(spot_frame: Callable[..., PointFrame]) -> None:
    def make() -> LabelPools:
        later = [spot_frame("s/held", amplitude=100), spot_frame("s/hard", amplitude=20)]
        return LabelPools([spot_frame("s/first", amplitude=100)], PoolRule(), later=later)

    found = make()
    assert found.mine(perfect, allowed_misses=1.0) == 0, "not admitted before they join"
    assert [f.name for f in found.training_frames()] == ["s/first"]
    assert found.describe()["waiting"] == 0
    again = make()
    again.load_state_dict(found.state_dict())
    assert again.later == {"s/held", "s/hard"}

    found.join()
    assert [f.name for f in found.training_frames()] == ["s/first", "s/held"]
    assert found.describe()["waiting"] == 1, "a frame without outlines waits as any other"
    assert found.mine(perfect, allowed_misses=1.0) == 1
    again.load_state_dict(found.state_dict())
    assert not again.later
    assert [f.name for f in again.training_frames()] == ["s/first", "s/held", "s/hard"]


def test_state_of_other_frames_is_refused(pools: MakePools) -> None:
    state = pools().state_dict()
    other = {key.replace("0", "7"): value for key, value in state.items()}
    with pytest.raises(ValueError, match="of other frames"):
        pools().load_state_dict(other)
    with pytest.raises(ValueError, match="of other frames"):
        pools().load_state_dict({key: value[:32] for key, value in state.items()})


def test_nothing_to_begin_with(spot_frame: Callable[..., PointFrame]) -> None:
    with pytest.raises(ValueError, match=r"of none of 1 frames .*--polarity"):
        LabelPools([spot_frame("s/weak", amplitude=20)], PoolRule())
    with pytest.raises(ValueError, match="points, initial, got 'all'"):
        PoolRule(protect="all")
