# SPDX-License-Identifier: Apache-2.0
"""The worked examples of the specification: binary masks E1 to E12 and the set E-PIX, in every profile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper.core.metrics import PROFILES, DetectionMetrics, MetricsResult, hse
from pitviper.core.metrics.background import summarise_contrasts, target_contrasts
from pitviper.core.metrics.curves import pixel_curve

Mask = NDArray[np.bool_]
Box = tuple[int, int, int, int]

# Every expected value is a quotient of small integers: only the last bits of a division may differ.
EXACT = partial(pytest.approx, rel=1e-13)


@dataclass(frozen=True)
class Example:
    """Boxes are inclusive rows a-b and columns a-b. ``fa`` is (greedy, with area membership, optimal) in pixels."""

    truth: tuple[Box, ...]
    prediction: tuple[Box, ...]
    iou: tuple[int, int]
    pd: tuple[float | None, float | None]
    fa: tuple[int, int, int]
    opdc: tuple[int, int, int]
    seg: tuple[float, float, float, float] | None
    loc: tuple[float, float, float, float, float] | None
    hiou: float
    size: int = 16


def dot(y: int, x: int) -> Box:
    return (y, y, x, x)


NONE = (0.0, 0.0, 0.0, 0.0)
EXAMPLES = {
    "E1 same": Example(
        ((4, 6, 4, 6),), ((4, 6, 4, 6),), (9, 9), (1, 1), (0, 0, 0), (1, 0, 0), (1, 0, 0, 0), (1, 0, 0, 0, 0), 1
    ),
    "E2 distance exactly 3": Example(
        ((4, 6, 4, 6),), ((4, 6, 7, 9),), (0, 18), (0, 0), (9, 9, 9), (0, 1, 1), NONE, (0, 0, 0, 0.5, 0.5), 0
    ),
    "E3 greedy takes the wrong one": Example(
        (dot(10, 10), dot(10, 14)), (dot(10, 12), dot(11, 9)),
        (0, 4), (0.5, 1), (1, 0, 0), (2, 0, 0), (0, 0, 0.5, 0.5), (1, 0, 0, 0, 0), 0,
    ),
    "E4 false alarm of the area of a match": Example(
        ((2, 3, 2, 3),), ((2, 3, 2, 3), (11, 12, 11, 12)),
        (4, 8), (1, 1), (4, 0, 4), (1, 1, 0), (1, 0, 0, 0), (0.5, 0, 0, 0.5, 0), 0.5,
    ),
    "E5 merged": Example(
        ((4, 5, 4, 5), (4, 5, 8, 9)), ((4, 5, 4, 9),),
        (8, 12), (0.5, 0.5), (0, 0, 0), (1, 0, 1), (1 / 3, 1 / 3, 1 / 3, 0), (0.5, 0.5, 0, 0, 0), 1 / 6,
    ),
    "E6 both empty": Example((), (), (0, 0), (None, None), (0, 0, 0), (0, 0, 0), None, None, 1),
    "E7 no truth": Example(
        (), ((7, 8, 7, 8),), (0, 4), (None, None), (4, 4, 4), (0, 1, 0), NONE, (0, 0, 0, 1, 0), 0
    ),
    "E8 no prediction": Example(
        ((7, 8, 7, 8),), (), (0, 4), (0, 0), (0, 0, 0), (0, 0, 1), NONE, (0, 0, 0, 0, 1), 0
    ),
    "E9 split": Example(
        ((6, 8, 4, 9),), ((6, 8, 4, 6), (6, 8, 8, 9)),
        (15, 18), (1, 1), (6, 6, 6), (1, 1, 0), (0.5, 0, 0, 0.5), (0.5, 0, 0.5, 0, 0), 0.25,
    ),
    "E10 diagonal is one target": Example(
        (dot(5, 5), dot(6, 6)), (dot(5, 5),),
        (1, 2), (1, 1), (0, 0, 0), (1, 0, 0), (0.5, 0, 0, 0.5), (1, 0, 0, 0, 0), 0.5,
    ),
    "E11 everything at once": Example(
        ((1, 2, 1, 2), (1, 3, 10, 12), (10, 12, 4, 6)),
        ((1, 2, 1, 3), (5, 6, 10, 11), (10, 13, 4, 6), dot(14, 14)),
        (13, 32), (2 / 3, 2 / 3), (5, 5, 5), (2, 2, 1),
        (17 / 24, 0, 7 / 24, 0), (0.4, 0, 0, 0.4, 0.2), 17 / 60,
    ),
    "E12 min-sum matches fewer": Example(
        (dot(10, 10), dot(12, 13)), (dot(10, 14), dot(12, 12)),
        (0, 4), (1, 1), (0, 0, 0), (2, 0, 0), (0, 0, 0.5, 0.5), (1, 0, 0, 0, 0), 0, size=24,
    ),
}  # fmt: skip

# Where PyIRSTDMetrics differs from ours in hIoU: (tp, fp, fn), localisation parts, hIoU.
PYIRSTD = {
    "E6 both empty": ((0, 1, 1), (0, 0, 0, 0.5, 0.5), 0),
    "E7 no truth": ((0, 1, 1), (0, 0, 0, 0.5, 0.5), 0),
    "E8 no prediction": ((0, 1, 1), (0, 0, 0, 0.5, 0.5), 0),
    "E12 min-sum matches fewer": ((1, 1, 1), (1 / 3, 1 / 3, 1 / 3, 0, 0), 0),
}


def paint(boxes: tuple[Box, ...], size: int) -> Mask:
    mask = np.zeros((size, size), np.bool_)
    for top, bottom, left, right in boxes:
        mask[top : bottom + 1, left : right + 1] = True
    return mask


def evaluate(name: str, profile: str) -> tuple[MetricsResult, tuple[int, int, int]]:
    example = EXAMPLES[name]
    metrics = DetectionMetrics(profile, curves=False)
    counts = metrics.update(paint(example.prediction, example.size), paint(example.truth, example.size))
    return metrics.compute(), (counts.hierarchical.tp, counts.hierarchical.fp, counts.hierarchical.fn)


def loc_parts(result: MetricsResult) -> tuple[float | None, ...]:
    return (
        result.loc_iou,
        result.loc_single_to_multi,
        result.loc_multi_to_single,
        result.loc_interference,
        result.loc_perception,
    )


@pytest.mark.parametrize("profile", ["ours", "pal", "dnanet", "mshnet", "pyirstd"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_pixels_and_targets(name: str, profile: str) -> None:
    example = EXAMPLES[name]
    result, _ = evaluate(name, profile)
    intersection, union = example.iou
    assert result.iou == (intersection / union if union else 1.0)
    assert result.pd == example.pd[profile == "ours"]
    column = {"ours": 2, "pal": 0, "pyirstd": 0, "dnanet": 1, "mshnet": 1}[profile]
    assert result.false_pixels == example.fa[column]
    pixels = 256 * 256 if profile in {"dnanet", "mshnet"} else example.size**2
    assert result.fa_per_mpix == EXACT(example.fa[column] * 1e6 / pixels)


@pytest.mark.parametrize("name", EXAMPLES)
def test_hierarchical(name: str) -> None:
    example = EXAMPLES[name]
    result, counts = evaluate(name, "ours")
    seg = (result.seg_iou, result.seg_merging, result.seg_interference, result.seg_perception)
    assert counts == example.opdc
    assert seg == (EXACT(example.seg) if example.seg else (None,) * 4)
    assert loc_parts(result) == (EXACT(example.loc) if example.loc else (None,) * 5)
    assert result.hiou == EXACT(example.hiou)


@pytest.mark.parametrize("name", EXAMPLES)
def test_hierarchical_as_pyirstd(name: str) -> None:
    example = EXAMPLES[name]
    result, counts = evaluate(name, "pyirstd")
    expected = PYIRSTD.get(name, (example.opdc, example.loc, example.hiou))
    assert counts == expected[0]
    assert loc_parts(result) == EXACT(expected[1])
    assert result.hiou == EXACT(expected[2])


def e_pix(dtype: type = np.float64) -> list[tuple[NDArray[np.floating], Mask]]:
    """Three 8 x 8 images of the specification as (probability, truth)."""
    sparse = (
        {(2, 2): 0.9, (2, 3): 0.7, (3, 2): 0.7, (3, 3): 0.3, (2, 4): 0.55, (6, 6): 0.35},
        {(5, 1): 0.8, (5, 2): 0.8, (5, 3): 0.45, (0, 7): 0.6},
        {(4, 4): 0.25},
    )
    truths = (paint(((2, 3, 2, 3),), 8), paint(((5, 5, 1, 3),), 8), paint((), 8))
    images = []
    for points, truth in zip(sparse, truths, strict=True):
        probability = np.zeros((8, 8), dtype)
        for position, value in points.items():
            probability[position] = value
        images.append((probability, truth))
    return images


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("profile", "niou"), [("ours", 0.7), ("pal", 1.1 / 3), ("dnanet", 1.1 / 3)])
def test_e_pix(dtype: type, profile: str, niou: float) -> None:
    metrics = DetectionMetrics(profile)
    for probability, truth in e_pix(dtype):
        metrics.update(probability, truth)
    result = metrics.compute()
    assert (result.images, result.targets, result.found, result.predicted) == (3, 2, 2, 3)
    assert result.iou == EXACT(5 / 9)
    assert result.niou == EXACT(niou)
    assert (result.precision, result.recall, result.f1) == EXACT((5 / 7, 5 / 7, 5 / 7))
    assert (result.pd, result.target_f1) == EXACT((1.0, 0.8))
    assert result.hse_pix == EXACT(0.5535875674, abs=5e-11)
    assert result.hse_tgt == EXACT(0.6817042607, abs=5e-11)
    assert result.hse == EXACT(0.6176459140, abs=5e-11)
    if profile != "dnanet":
        assert result.fa_per_mpix == EXACT(1e6 / 192)


def test_e_pix_skipping_empty_images() -> None:
    metrics = DetectionMetrics(replace(PROFILES["ours"], empty="skip"), curves=False)
    for probability, truth in e_pix():
        metrics.update(probability, truth)
    assert metrics.compute().niou == EXACT(0.55)


def test_roc_and_ap_of_image_1() -> None:
    probability, truth = e_pix()[0]
    metrics = DetectionMetrics()
    metrics.update(probability, truth)
    exact = pixel_curve(probability, truth)
    steps = [(0, 1), (0, 3), (1, 3), (2, 3), (2, 4)]
    assert list(zip(exact.fp.tolist(), exact.tp.tolist(), strict=True))[:5] == steps
    for auc, ap in ((exact.auc(), exact.average_precision()), (metrics.compute().auc, metrics.compute().ap)):
        assert auc == EXACT(119 / 120)
        assert ap == EXACT(11 / 12)


def test_eleven_thresholds_without_end_points_are_unusable() -> None:
    """The published 11-bin area, to show that ours is not it: 0.025 instead of 0.9917."""
    probability, truth = e_pix()[0]
    points = []
    for k in range(11):
        predicted = probability > k / 10
        points.append((predicted[~truth].mean(), predicted[truth].mean()))
    fpr, tpr = np.array(points[::-1]).T
    assert np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2) == EXACT(0.025)
    fpr, tpr = np.append(fpr, 1.0), np.append(tpr, 1.0)
    assert np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2) == EXACT(119 / 120)


def test_hse_a() -> None:
    truth, probability = paint(((2, 3, 2, 3),), 8), 0.7 * paint(((2, 3, 3, 4),), 8)
    value = hse([(probability, truth)], thresholds=(0.2, 0.4, 0.6, 0.8), distances=(1, 2, 3))
    assert (value.pix, value.tgt, value.value) == EXACT((0.25, 0.5, 0.375))
    assert value.version == "hse-v0"


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_hse_b(dtype: type) -> None:
    value = hse(e_pix(dtype), thresholds=(0.2, 0.4, 0.6, 0.8), distances=(1, 2, 3))
    assert (value.pix, value.tgt, value.value) == EXACT((0.5797438672, 0.7595238095, 0.6696338384), abs=5e-11)


def test_hse_c() -> None:
    value = hse(e_pix())
    assert (value.pix, value.tgt, value.value) == EXACT((0.5535875674, 0.6817042607, 0.6176459140), abs=5e-11)


@pytest.mark.parametrize("margin", [20, None])
def test_scrg_and_bsf(margin: int | None) -> None:
    before = np.array(
        [[10, 12, 11, 13, 10], [11, 10, 12, 11, 12], [10, 11, 40, 12, 11], [12, 13, 11, 10, 12], [11, 12, 10, 11, 10]]
    )  # fmt: skip
    after = np.array([[0, 1, 0, 1, 0], [0, 0, 1, 0, 1], [0, 0, 30, 1, 0], [1, 1, 0, 0, 1], [0, 0, 1, 0, 0]])
    (contrast,) = target_contrasts(before, after, paint(((2, 2, 2, 2),), 5), margin=margin)
    assert (contrast.sigma_in, contrast.scr_in) == EXACT((0.942809, 30.582368), abs=5e-7)
    assert (contrast.sigma_out, contrast.scr_out) == EXACT((0.484123, 61.193137), abs=5e-7)
    assert (contrast.scrg, contrast.bsf) == EXACT((2.000929, 1.947458), abs=5e-7)
    summary = summarise_contrasts([contrast])
    assert summary["scrg"].median == contrast.scrg
    assert summary["bsf"].infinite_share == 0.0
