# SPDX-License-Identifier: Apache-2.0
"""ROC and AP against their definitions over all pairs of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pitviper.core.metrics.curves import ScoreHistogram, pixel_curve

seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(seeds, st.integers(2, 12))
def test_auc_is_the_chance_to_outscore(seed: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    scores, truth = generator.integers(0, levels, 60) / levels, generator.random(60) < 0.3
    auc = pixel_curve(scores, truth).auc()
    if truth.all() or not truth.any():
        assert auc is None
        return
    difference = scores[truth][:, None] - scores[~truth][None]
    chance = (difference > 0).mean() + (difference == 0).mean() / 2
    assert auc == pytest.approx(chance, abs=1e-12)  # sums of at most 60 terms of order 1
    # Levels that are more than a bin apart: the histogram is exact as well.
    histogram = ScoreHistogram()
    histogram.add(scores.reshape(6, 10), truth.reshape(6, 10))
    assert histogram.curve().auc() == auc
    assert histogram.curve().average_precision() == pixel_curve(scores, truth).average_precision()


def test_average_precision_by_its_sum() -> None:
    scores, truth = np.array([0.9, 0.8, 0.8, 0.5, 0.1]), np.array([1, 0, 1, 0, 1], np.bool_)
    # Recall 1/3, 2/3, 2/3, 1 at precision 1, 2/3, 2/4, 3/5.
    assert pixel_curve(scores, truth).average_precision() == pytest.approx((1 + 2 / 3 + 3 / 5) / 3, abs=1e-15)


def test_curves_of_one_class() -> None:
    assert pixel_curve([0.1, 0.2], [False, False]).average_precision() is None
    assert pixel_curve([0.1, 0.2], [True, True]).auc() is None
    assert ScoreHistogram().curve().auc() is None


def test_tiny_scores_stay_apart() -> None:
    """A missed target of 1e-5 on a background of 1e-6 is well ranked; equally wide bins would call it a tie."""
    probability = np.full((32, 32), 1e-6, np.float32)
    truth = np.zeros((32, 32), np.bool_)
    probability[3, 4], truth[3, 4] = 1e-5, True
    histogram = ScoreHistogram()
    histogram.add(probability, truth)
    assert histogram.curve().auc() == 1.0


def test_histogram_is_close_on_continuous_scores() -> None:
    generator = np.random.default_rng(1)
    truth = generator.random((200, 200)) < 0.02
    probability = 1 / (1 + np.exp(-(generator.normal(-4, 2, truth.shape) + 3 * truth)))
    histogram = ScoreHistogram()
    histogram.add(probability, truth)
    exact, binned = pixel_curve(probability, truth), histogram.curve()
    # Ties inside a bin of relative width 2**-12 move a rank by at most about 1e-4 here.
    assert binned.auc() == pytest.approx(exact.auc(), abs=1e-5)
    assert binned.average_precision() == pytest.approx(exact.average_precision(), abs=1e-4)


def test_edge_scores() -> None:
    histogram = ScoreHistogram()
    histogram.add(np.array([[-0.0, 0.0, 1.0, 1.0]]), np.array([[True, False, True, False]]))
    curve = histogram.curve()
    assert (curve.tp.tolist(), curve.fp.tolist()) == ([1, 2], [1, 2])


def test_one_shape_is_needed() -> None:
    with pytest.raises(ValueError, match="one shape"):
        pixel_curve(np.zeros(3), np.zeros(4, np.bool_))
