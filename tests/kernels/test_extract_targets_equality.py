# SPDX-License-Identifier: Apache-2.0
"""The compiled `extract_targets` equals the definition, bit for bit but for one rounding of the contrast."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pitviper.kernels import Targets, extract_targets
from pitviper.kernels.adversarial import adversarial_masks
from pitviper.kernels.testing import assert_close, assert_same_targets


def assert_backends_agree(probability: npt.NDArray[np.float32], frame: Any = None, **options: Any) -> Targets:
    expected = extract_targets(probability, frame, backend="numpy", **options)
    assert_same_targets(extract_targets(probability, frame, backend="host", **options), expected)
    return expected


MASKS = adversarial_masks()


@pytest.mark.parametrize("name", MASKS)
def test_adversarial_maps(name: str) -> None:
    mask = MASKS[name]
    rng = np.random.default_rng(7)
    values = rng.uniform(0.51, 1.0, mask.shape)
    probability = np.where(mask, values, rng.uniform(0.0, 0.5, mask.shape)).astype(np.float32)
    frame = rng.integers(0, 16384, mask.shape, np.uint16)
    for options in ({}, {"max_targets": 3}, {"max_targets": 10**6}):
        assert_backends_agree(probability, frame, **options)
    assert_backends_agree(mask.astype(np.float32), frame)


def test_shapes_are_what_they_say() -> None:
    totals = {name: extract_targets(mask.astype(np.float32)).total for name, mask in MASKS.items()}
    one = (
        "full",
        "checkerboard",
        "spiral",
        "turned spiral",
        "comb up",
        "comb down",
        "frame",
        "one pixel",
        "tree",
    )
    assert {name: totals[name] for name in one} == dict.fromkeys(one, 1)
    assert (totals["empty"], totals["cups"], totals["isolated"]) == (0, 17, 35 * 66)
    assert totals["two spirals"] == 2
    assert totals["tree upside down"] == 1


@pytest.mark.parametrize("density", [0.001, 0.01, 0.1, 0.3, 0.41, 0.5, 0.7, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
def test_random_maps(density: float, dtype: Any) -> None:
    rng = np.random.default_rng(int(density * 1000))
    probability = rng.random((75, 150), np.float32)
    frame = (rng.normal(0, 1, probability.shape) * 20 + 100).astype(dtype)
    assert_backends_agree(probability, frame, threshold=1.0 - density)


@pytest.mark.parametrize("width", [1, 2, 63, 64, 65, 127, 128, 129, 191, 192])
def test_runs_that_meet_the_edges_of_blocks(width: int) -> None:
    """The compiled code looks at 64 columns at a time; every begin and end near such an edge is tried."""
    near = [
        edge for edge in (0, 1, 62, 63, 64, 65, 126, 127, 128, 129, width - 1, width) if 0 <= edge <= width
    ]
    pairs = sorted({(begin, end) for begin in near for end in near if begin < end})
    probability = np.zeros((2 * len(pairs), width), np.float32)
    for row, (begin, end) in enumerate(pairs):
        probability[2 * row, begin:end] = 0.9
    targets = assert_backends_agree(probability, max_targets=1000)
    assert [(int(left), int(right)) for left, _, right, _ in targets.xyxy] == pairs


def test_many_components_at_once() -> None:
    """262,144 of them: work that grew with the square of their number would not end."""
    probability = np.zeros((1024, 1024), np.float32)
    probability[::2, ::2] = np.random.default_rng(8).uniform(0.6, 1, (512, 512))
    frame = np.random.default_rng(9).integers(0, 9999, probability.shape, np.uint16)
    targets = extract_targets(probability, frame, max_targets=100, backend="host")
    assert (len(targets), targets.total, targets.truncated) == (100, 512 * 512, True)
    highest = np.sort(probability[probability > 0.5])[-100:]
    assert np.array_equal(np.sort(targets.peak), highest)
    assert_backends_agree(probability[:200, :200], frame[:200, :200], max_targets=5)


maps = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14),
    elements=st.sampled_from([0.0, 0.25, 0.5, np.float32(0.6), 0.75, 1.0]),
    fill=st.just(0.0),
)


@settings(deadline=None, max_examples=150)
@given(maps, st.integers(1, 5), st.sampled_from([0.0, 0.25, 0.5, 0.6, 1.0]), st.integers(0, 2**32 - 1))
def test_any_map(probability: npt.NDArray[np.float32], most: int, threshold: float, seed: int) -> None:
    frame = np.random.default_rng(seed).integers(0, 4, probability.shape, np.uint8)
    assert_backends_agree(probability, frame, threshold=threshold, max_targets=most)


def by_centroid(targets: Targets) -> list[tuple[float, ...]]:
    rows = zip(targets.xy.round(9).tolist(), targets.xyxy.tolist(), targets.area, targets.peak, strict=True)
    return sorted((*xy, *box, int(area), float(peak)) for xy, box, area, peak in rows)


@settings(deadline=None, max_examples=80)
@given(maps, st.integers(0, 70), st.integers(0, 9))
def test_translation(probability: npt.NDArray[np.float32], right: int, down: int) -> None:
    targets = extract_targets(probability, max_targets=1000)
    moved = extract_targets(np.pad(probability, ((down, 3), (right, 2))), max_targets=1000)
    assert np.array_equal(moved.area, targets.area)
    assert np.array_equal(moved.xyxy, targets.xyxy + np.array([right, down] * 2, np.float32))
    assert_close(moved.xy, targets.xy + np.array([right, down]), "centroid")


@settings(deadline=None, max_examples=80)
@given(maps)
def test_flip_and_transposition(probability: npt.NDArray[np.float32]) -> None:
    height, width = probability.shape
    expected = by_centroid(extract_targets(probability, max_targets=1000))
    swapped = extract_targets(probability.T, max_targets=1000)
    assert expected == by_centroid(
        Targets(
            swapped.xy[:, ::-1],
            swapped.xyxy[:, [1, 0, 3, 2]],
            *(swapped.area, swapped.peak, swapped.mean, swapped.snr),
            truncated=False,
            total=swapped.total,
        )
    )
    flipped = extract_targets(probability[::-1, ::-1], max_targets=1000)
    assert expected == by_centroid(
        Targets(
            [width, height] - flipped.xy,
            np.array([width, height] * 2, np.float32) - flipped.xyxy[:, [2, 3, 0, 1]],
            *(flipped.area, flipped.peak, flipped.mean, flipped.snr),
            truncated=False,
            total=flipped.total,
        )
    )
