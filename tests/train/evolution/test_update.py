# SPDX-License-Identifier: Apache-2.0
"""The update of a label: the specification's fixtures, what may shrink, and large targets."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper.train.evolution.update import LESPS, UpdateRule, update_label

Map = NDArray[np.float32]


def scene(side: int, top: int) -> tuple[Map, Map]:
    """A label of 3x3, seen with 0.95, in a ring of 2 pixels that is seen with 0.8; two decoys on the larger frame."""
    label, probability = np.zeros((side, side), np.float32), np.zeros((side, side), np.float32)
    label[top : top + 3, top : top + 3] = 1.0
    probability[top - 2 : top + 5, top - 2 : top + 5] = 0.8
    probability[top : top + 3, top : top + 3] = 0.95
    return label, probability


def nothing(label: Map) -> NDArray[np.bool_]:
    return np.zeros(label.shape, np.bool_)


def test_threshold_of_the_specification() -> None:
    rule = UpdateRule()
    assert rule.threshold(9, 64 * 64) == pytest.approx(0.8662, abs=5e-5)
    assert rule.threshold(9, 64 * 64) * 0.95 == pytest.approx(0.8229, abs=5e-5)


def test_small_frame_of_the_specification() -> None:
    """The ring stays below the threshold of 0.8229."""
    label, probability = scene(64, 30)
    updated = update_label(label, probability, label == 1)
    assert np.array_equal(updated, label)
    assert updated is not label


def test_large_frame_of_the_specification() -> None:
    label, probability = scene(256, 100)
    probability[110:113, 110:113] = 0.9
    probability[200:203, 50:53] = 0.9
    protected = label == 1
    seen = [label]
    for _ in range(3):
        seen.append(update_label(seen[-1], probability, protected))
    assert np.allclose([each[98, 98] for each in seen], [0.0, 0.4, 0.6, 0.7], atol=1e-6)
    assert [int((each > 0.5).sum()) for each in seen] == [9, 9, 49, 49]
    assert not any(each[110:113, 110:113].any() or each[200:203, 50:53].any() for each in seen)


def test_decay_of_the_specification() -> None:
    label = np.zeros((64, 64), np.float32)
    label[10:12, 10:12] = 0.6
    updated = update_label(label, np.zeros_like(label), nothing(label))
    assert np.allclose(updated[10:12, 10:12], 0.582, atol=1e-6)
    assert updated.sum() == pytest.approx(4 * 0.582, abs=1e-5)


@pytest.mark.parametrize("area", [1, 2, 9, 80])
def test_points_stay_and_the_rest_may_shrink(area: int) -> None:
    """Protecting the first mask, as published, holds all of it; protecting points lets a wrong mask go."""
    label = np.zeros((64, 64), np.float32)
    rows = {1: (1, 1), 2: (1, 2), 9: (3, 3), 80: (8, 10)}[area]
    label[20 : 20 + rows[0], 20 : 20 + rows[1]] = 1.0
    point = nothing(label)
    point[20, 20] = True
    held, freed = label, label
    for _ in range(40):
        held = update_label(held, np.zeros_like(label), label == 1)
        freed = update_label(freed, np.zeros_like(label), point)
    assert np.array_equal(held, label)
    assert np.argwhere(freed > 0.5).tolist() == [[20, 20]]
    assert freed[20, 20] == 1.0


def test_large_targets_can_grow() -> None:
    """208 pixels at 256x256: the published threshold is above the largest probability, ours at 95 % of it."""
    label, probability = np.zeros((256, 256), np.float32), np.zeros((256, 256), np.float32)
    label[100:113, 100:116] = 1.0
    probability[99:114, 99:117] = 0.97
    probability[105, 105] = 1.0
    published = UpdateRule(cap=float("inf"))
    assert published.threshold(208, 256 * 256) > 1.0
    assert update_label(label, probability, nothing(label), published)[99, 99] == 0.0
    assert update_label(label, probability, nothing(label))[99, 99] == pytest.approx(0.485)


def test_what_does_not_hang_together_with_the_centre_is_no_candidate() -> None:
    label, probability = scene(256, 100)
    probability[103:106, 103:106] = 0.95  # touches the ring, diagonally too
    probability[90:92, 90:92] = 0.95
    updated = update_label(label, probability, label == 1)
    assert updated[105, 105] > 0
    assert not updated[90:92, 90:92].any()


def test_regions_at_the_border() -> None:
    label, probability = np.zeros((64, 64), np.float32), np.zeros((64, 64), np.float32)
    for row, column in ((0, 0), (0, 63), (63, 0), (63, 63)):
        label[row, column] = 1.0
        probability[row, column] = 0.9
    updated = update_label(label, probability, nothing(label))
    assert np.allclose(updated[label > 0], 0.95)


def test_lesps_takes_regions_one_after_the_other_and_forgets_nothing() -> None:
    label = np.zeros((256, 256), np.float32)
    label[100, 100] = label[100, 104] = 1.0
    label[50, 50] = 0.4
    probability = np.zeros_like(label)
    probability[99:102, 99:106] = 0.8
    ours = update_label(label, probability, nothing(label))
    theirs = update_label(label, probability, nothing(label), LESPS)
    assert ours[99, 99] == pytest.approx(0.4)
    assert theirs[99, 99] == pytest.approx(0.6), (
        "the second region meets what the first left: (0.4 + 0.8) / 2"
    )
    assert ours[50, 50] == pytest.approx(0.388)
    assert theirs[50, 50] == pytest.approx(0.4)


def test_refusals() -> None:
    label = np.zeros((8, 8), np.float32)
    with pytest.raises(ValueError, match="one shape"):
        update_label(label, label[:4], nothing(label))
    broken = label.copy()
    broken[3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        update_label(label, broken, nothing(label))
