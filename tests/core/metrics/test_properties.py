# SPDX-License-Identifier: Apache-2.0
"""What must hold for every input: orientation, order, partition, number type; and which input is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pitviper.core.metrics import PROFILES, DetectionMetrics, MetricsResult
from pitviper.core.metrics.hse import HSE_DISTANCES, SWEEP_THRESHOLDS
from pitviper.core.metrics.sweep import SweepCounts

Pair = tuple[NDArray[Any], NDArray[np.bool_]]
seeds = st.integers(0, 2**32 - 1)


def scene(seed: int, shape: tuple[int, int] = (20, 23)) -> Pair:
    """Random blobs with scores on a coarse grid, so that ties and values on thresholds are frequent."""
    generator = np.random.default_rng(seed)
    truth = np.zeros(shape, np.bool_)
    probability = np.where(generator.random(shape) < 0.04, generator.integers(0, 21, shape) / 20, 0.0)
    for _ in range(generator.integers(0, 5)):
        y, x = generator.integers(0, shape[0]), generator.integers(0, shape[1])
        height, width = generator.integers(1, 5, 2)
        truth[y : y + height, x : x + width] = True
        dy, dx = generator.integers(0, 3, 2)
        probability[y + dy : y + dy + height, x + dx : x + dx + width] = generator.integers(4, 21) / 20
    return probability, truth


def run(pairs: list[Pair], profile: str = "ours") -> DetectionMetrics:
    metrics = DetectionMetrics(profile)
    for probability, truth in pairs:
        metrics.update(probability, truth)
    return metrics


def assert_same(one: MetricsResult, other: MetricsResult) -> None:
    assert one.to_dict(curves=True) == other.to_dict(curves=True)


# A turn changes which of several equally short OPDC assignments the solver returns; these keys do not depend on it.
TURN_FREE = (
    "iou", "niou", "precision", "recall", "f1", "pd", "fa_per_mpix", "false_objects_per_frame", "target_f1",
    "hse", "hse_pix", "hse_tgt", "auc", "ap", "pd_at_fa",
)  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(seeds, st.sampled_from([np.fliplr, np.flipud, np.transpose, np.rot90]))
def test_orientation_does_not_matter(seed: int, turn: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    pairs = [scene(seed), scene(seed + 1)]
    upright = run(pairs).compute().to_dict()
    turned = run([(turn(probability), turn(truth)) for probability, truth in pairs]).compute().to_dict()
    assert {key: turned[key] for key in TURN_FREE} == {key: upright[key] for key in TURN_FREE}


@settings(max_examples=10, deadline=None)
@given(seeds, st.sampled_from(sorted(PROFILES)))
def test_order_and_partition_do_not_matter(seed: int, profile: str) -> None:
    pairs = [scene(seed + offset) for offset in range(7)]
    whole = run(pairs, profile)
    assert_same(run(pairs[::-1], profile).compute(), whole.compute())
    parts = run(pairs[4:], profile)
    parts.merge(run(pairs[:4], profile))
    assert len(parts) == len(whole) == 7
    assert_same(parts.compute(), whole.compute())


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_number_type_does_not_matter(seed: int) -> None:
    """The scores are multiples of 0.05, most of which float32 rounds up: 0.3 must not pass the threshold 0.3."""
    pairs = [scene(seed)]
    single = [(probability.astype(np.float32), truth) for probability, truth in pairs]
    assert_same(run(single).compute(), run(pairs).compute())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("threshold", [0.3, 0.6, 0.7])
def test_a_score_on_the_threshold_is_background(dtype: type, threshold: float) -> None:
    metrics = DetectionMetrics(curves=False, threshold=threshold)
    assert metrics.update(np.full((4, 4), threshold, dtype), np.ones((4, 4), np.bool_)).pixel.tp == 0
    above = np.nextafter(dtype(threshold), dtype(1))
    assert metrics.update(np.full((4, 4), above, dtype), np.ones((4, 4), np.bool_)).pixel.tp == 16


@settings(max_examples=8, deadline=None)
@given(seeds, st.sampled_from(["ours", "pal", "dnanet"]))
def test_sweep_equals_one_threshold_at_a_time(seed: int, profile: str) -> None:
    """Skipped labelings and level histograms give what thresholding the map 101 times gives."""
    probability, truth = scene(seed)
    sweep = run([(probability, truth)], profile)._images[0].sweep
    assert isinstance(sweep, SweepCounts)
    for step, threshold in enumerate(SWEEP_THRESHOLDS[:-1]):
        single = DetectionMetrics(profile, curves=False, threshold=threshold)
        counts = single.update(probability, truth)
        pixel = (counts.pixel.tp, counts.pixel.fp, counts.pixel.fn)
        assert (sweep.tp[step], sweep.fp[step], sweep.fn[step]) == pixel
        target = counts.target
        assert (sweep.true[step], sweep.predicted[step]) == (target.true, target.predicted)
        assert (sweep.matched[step], sweep.false_pixels[step]) == (target.matched, target.false_pixels)
        for index, distance in enumerate(HSE_DISTANCES):
            near = DetectionMetrics(curves=False, threshold=threshold, distance=distance)
            assert sweep.within[step, index] == near.update(probability, truth).target.matched
    assert not sweep.predicted[-1]


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_parts_add_up(seed: int) -> None:
    result = run([scene(seed), scene(seed + 1)]).compute()
    if result.loc_iou is not None:
        loc = [f.name for f in fields(result) if f.name.startswith("loc_")]
        assert sum(getattr(result, name) for name in loc) == pytest.approx(1.0, abs=1e-12)
    if result.seg_iou:
        seg = [f.name for f in fields(result) if f.name.startswith("seg_")]
        assert sum(getattr(result, name) for name in seg) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 3), (8, 10)])
def test_a_planted_target_is_found_and_its_loss_is_seen(shape: tuple[int, int]) -> None:
    truth = np.zeros((64, 64), np.bool_)
    truth[30 : 30 + shape[0], 40 : 40 + shape[1]] = True
    found = run([(truth * 0.9, truth)]).compute()
    assert (found.iou, found.pd, found.fa_per_mpix, found.hiou, found.ap) == (1.0, 1.0, 0.0, 1.0, 1.0)
    lost = run([(np.zeros((64, 64)), truth)]).compute()
    assert (lost.iou, lost.pd, lost.fa_per_mpix, lost.hiou, lost.hse) == (0.0, 0.0, 0.0, 0.0, 0.0)


def test_nothing_anywhere() -> None:
    result = run([(np.zeros((8, 8)), np.zeros((8, 8), np.bool_))]).compute()
    assert (result.iou, result.niou, result.precision, result.recall, result.f1) == (1.0,) * 5
    assert (result.pd, result.auc, result.ap, result.loc_iou) == (None,) * 4
    assert (result.hiou, result.hse, result.target_f1) == (1.0, 1.0, 1.0)
    assert result.pd_at_fa == {"1": None, "10": None, "100": None}


def test_only_false_alarms() -> None:
    probability = np.zeros((10, 10))
    probability[2:4, 2:4] = 0.8
    result = run([(probability, np.zeros((10, 10), np.bool_))]).compute()
    assert (result.iou, result.precision, result.recall, result.pd) == (0.0, 0.0, 0.0, None)
    assert (result.fa_per_mpix, result.false_objects_per_frame) == (40_000.0, 1.0)


@pytest.mark.parametrize(
    ("probability", "truth", "error", "words"),
    [
        (np.zeros((4, 5)), np.zeros((5, 4), np.bool_), ValueError, "crop the network's padding"),
        (np.full((4, 4), np.nan), np.zeros((4, 4), np.bool_), ValueError, "16 NaN of 16"),
        (np.full((4, 4), 3.0), np.zeros((4, 4), np.bool_), ValueError, "sigmoid"),
        (np.full((4, 4), -1.0), np.zeros((4, 4), np.bool_), ValueError, "sigmoid"),
        (np.full((4, 4), np.inf), np.zeros((4, 4), np.bool_), ValueError, "sigmoid"),
        (np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.bool_), TypeError, "floating-point"),
        (np.zeros((4, 4)), np.zeros((4, 4), np.uint8), TypeError, "> 127"),
        (np.zeros((1, 4, 4)), np.zeros((1, 4, 4), np.bool_), ValueError, r"\[H, W\]"),
        (np.zeros((0, 4)), np.zeros((0, 4), np.bool_), ValueError, "at least one pixel"),
    ],
)
def test_refused_input(probability: Any, truth: Any, error: type[Exception], words: str) -> None:
    metrics = DetectionMetrics()
    with pytest.raises(error, match=words):
        metrics.update(probability, truth)
    assert len(metrics) == 0


def test_a_sigmoid_that_rounds_above_one_counts_as_one() -> None:
    truth = np.eye(4, dtype=np.bool_)
    rounded = truth * np.nextafter(np.float32(1), np.float32(2))
    assert rounded.max() > 1
    assert_same(run([(rounded, truth)]).compute(), run([(truth.astype(np.float32), truth)]).compute())
    with pytest.raises(ValueError, match="sigmoid"):
        run([(truth * np.float32(1.001), truth)])
    with pytest.raises(ValueError, match="sigmoid"):
        run([(rounded - np.float32(0.1) * ~truth, truth)])


def test_refused_settings() -> None:
    with pytest.raises(ValueError, match="ours, pal, dnanet, mshnet, pyirstd"):
        DetectionMetrics("basic")
    with pytest.raises(ValueError, match="threshold must lie"):
        DetectionMetrics(threshold=1.0)
    with pytest.raises(ValueError, match="distance must be above 0"):
        DetectionMetrics(distance=0.0)
    with pytest.raises(ValueError, match="no image was added"):
        DetectionMetrics().compute()
    with pytest.raises(ValueError, match="cannot merge"):
        DetectionMetrics("ours").merge(DetectionMetrics("pal"))
