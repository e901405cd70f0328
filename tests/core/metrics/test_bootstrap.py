# SPDX-License-Identifier: Apache-2.0
"""Bootstrap intervals: what a draw is, that seeds decide, and undefined draws."""

from __future__ import annotations

import numpy as np
import pytest

from pitviper.core.metrics import DetectionMetrics
from pitviper.core.metrics.counts import CountTable
from pitviper.core.metrics.profiles import PROFILES
from pitviper.core.metrics.summary import summarise


def filled(hits: list[bool], *, curves: bool = False) -> DetectionMetrics:
    """One image a hit or a miss, each with one target of its own size and sometimes a false alarm."""
    metrics = DetectionMetrics(curves=curves)
    for index, hit in enumerate(hits):
        truth, probability = np.zeros((24, 24), np.bool_), np.zeros((24, 24))
        truth[4 : 5 + index % 3, 4:6] = True
        probability[truth] = 0.9 * hit
        probability[20, 3 : 3 + index % 2] = 0.7
        metrics.update(probability, truth)
    return metrics


def test_a_draw_is_the_metric_of_the_drawn_images() -> None:
    """Weighted sums over counts equal computing everything anew for images that are there several times."""
    hits = [True, False, True, True, False]
    times = [2, 0, 1, 1, 1]
    metrics = filled(hits, curves=True)
    drawn = DetectionMetrics()
    for image, count in zip(metrics._images, times, strict=True):
        drawn._images.extend([image] * count)
    once = summarise(CountTable(metrics._images), PROFILES["ours"], np.array([times], np.float64))
    again = summarise(CountTable(drawn._images), PROFILES["ours"])
    assert once.keys() == again.keys()
    for name, value in once.items():
        # Sums of a few ratios in another order.
        np.testing.assert_allclose(value, again[name], rtol=1e-13, err_msg=name)


def test_interval_of_pd_is_that_of_a_proportion() -> None:
    hits = [index % 4 != 0 for index in range(200)]
    interval = filled(hits).bootstrap(1000, seed=1)["pd"]
    sigma = np.sqrt(0.75 * 0.25 / 200)
    # 1000 draws estimate a 2.5 % quantile of a normal shape to about 0.08 sigma: 0.25 sigma is three times that.
    assert interval.low == pytest.approx(0.75 - 1.96 * sigma, abs=0.25 * sigma)
    assert interval.high == pytest.approx(0.75 + 1.96 * sigma, abs=0.25 * sigma)
    assert interval.level == 0.95


def test_the_seed_decides() -> None:
    metrics = filled([True, False, True, True, False, True, True])
    assert metrics.bootstrap(seed=3) == metrics.bootstrap(seed=3)
    assert metrics.bootstrap(seed=3) != metrics.bootstrap(seed=4)


def test_swept_metrics_have_intervals() -> None:
    intervals = filled([True, False, True, True], curves=True).bootstrap(100)
    assert {"hse", "hse_pix", "hse_tgt", "pd_at_fa_1", "hiou", "iou", "fa_per_mpix"} <= intervals.keys()
    assert all(interval.low <= interval.high for interval in intervals.values())


def test_undefined_metrics_have_none() -> None:
    metrics = DetectionMetrics(curves=False)
    metrics.update(np.zeros((8, 8)), np.zeros((8, 8), np.bool_))
    intervals = metrics.bootstrap(20)
    assert "pd" not in intervals
    assert intervals["iou"].low == 1.0


def test_refused_settings() -> None:
    with pytest.raises(ValueError, match="draws"):
        filled([True]).bootstrap(0)
    with pytest.raises(ValueError, match="level"):
        filled([True]).bootstrap(10, level=95)
