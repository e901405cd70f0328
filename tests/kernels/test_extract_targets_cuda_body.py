# SPDX-License-Identifier: Apache-2.0
"""The kernel bodies of `extract_targets`, run on the host: the targets of the definition, in its order, to the bit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pitviper.kernels import NativeUnavailable, Targets, checks, extract_targets, memory, native
from pitviper.kernels.adversarial import adversarial_masks
from pitviper.kernels.extract_targets.cuda_impl import HeadSource, extract_targets_phases
from pitviper.kernels.standardise import cuda_impl as standardise_cuda
from pitviper.kernels.testing import assert_same_targets

Map = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workspaces and results begin as NaN in every type, so that what nobody writes shows."""
    plain = memory.aligned_empty

    def poison(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        made = plain(shape, dtype)
        made.reshape(-1).view(np.uint8)[:] = 0xFF
        return made

    monkeypatch.setattr(memory, "aligned_empty", poison)


@pytest.fixture(params=[False, True], ids=["forwards", "backwards"])
def turns(request: pytest.FixtureRequest) -> Iterator[None]:
    """Threads take turns from the first to the last, or from the last: what differs would be a race on a GPU."""
    native.load().take_turns_backwards(request.param)
    yield
    native.load().take_turns_backwards(False)


def assert_as_defined(probability: Map, frame: Any = None, **options: Any) -> Targets:
    expected = extract_targets(probability, frame, backend="numpy", **options)
    frames = None if frame is None else frame[None]
    assert_same_targets(extract_targets_phases(probability[None], frames, **options).targets(0), expected)
    return expected


MASKS = adversarial_masks()


@pytest.mark.parametrize("name", MASKS)
def test_adversarial_masks(name: str, turns: None) -> None:
    mask = np.ascontiguousarray(MASKS[name])
    rng = np.random.default_rng(7)
    probability = np.where(mask, rng.uniform(0.51, 1.0, mask.shape), rng.uniform(0.0, 0.5, mask.shape))
    frame = rng.integers(0, 16384, mask.shape, np.uint16)
    for most in (3, 10000):
        assert_as_defined(probability.astype(np.float32), frame, max_targets=most)
    assert_as_defined(mask.astype(np.float32), frame)


@pytest.mark.parametrize("density", [0.001, 0.03, 0.3, 0.41, 0.7, 0.99])
@pytest.mark.parametrize("dtype", checks.FRAME_DTYPES)
def test_random_maps(density: float, dtype: Any, turns: None) -> None:
    rng = np.random.default_rng(int(density * 1000))
    probability = rng.random((45, 130), np.float32)
    frame = (rng.normal(0, 1, probability.shape) * 20 + 100).astype(dtype)
    assert_as_defined(probability, frame, threshold=1.0 - density)


@pytest.mark.parametrize("begin", [0, 1, 30, 31, 32, 33, 62, 63, 64, 65])
def test_runs_that_meet_the_edges_of_words(begin: int) -> None:
    probability = np.zeros((200, 99), np.float32)
    for row, end in enumerate(end for end in (31, 32, 33, 63, 64, 65, 96, 98, 99) if end > begin):
        probability[3 * row, begin:end] = 0.9
        probability[3 * row + 1, max(begin - 1, 0)] = 0.8
    assert_as_defined(probability, max_targets=1000)


def planted(shape: tuple[int, int] = (64, 97)) -> tuple[Map, npt.NDArray[np.uint16]]:
    """Targets of 1, 2, 9 and 80 pixels in a map and in the frame under it."""
    rng = np.random.default_rng(5)
    probability = rng.uniform(0, 0.4, shape).astype(np.float32)
    frame = rng.integers(1000, 1040, shape).astype(np.uint16)
    for row, column, height, width in ((3, 5, 1, 1), (3, 31, 1, 2), (20, 62, 3, 3), (40, 30, 8, 10)):
        probability[row : row + height, column : column + width] = rng.uniform(0.6, 1, (height, width))
        frame[row : row + height, column : column + width] += 500
    return probability, frame


@pytest.mark.parametrize("dtype", checks.FRAME_DTYPES)
def test_planted_targets(dtype: Any) -> None:
    probability, frame = planted()
    targets = assert_as_defined(probability, (frame / (8 if dtype == np.uint8 else 1)).astype(dtype))
    assert targets.area.tolist() == [1, 2, 9, 80]
    assert (targets.snr > 10).all()


def test_a_whole_frame() -> None:
    rng = np.random.default_rng(11)
    probability = (rng.random((512, 640)) ** 4).astype(np.float32)
    frame = rng.integers(0, 65536, probability.shape, np.uint16)
    targets = assert_as_defined(probability, frame, threshold=0.9, max_targets=50)
    assert targets.truncated
    assert targets.total > 1000


def test_more_targets_than_capacity_are_counted_and_the_best_stay() -> None:
    probability = np.zeros((90, 90), np.float32)
    probability[::2, ::2] = np.random.default_rng(3).choice([0.6, 0.7, 0.8], (45, 45))
    for most in (1, 2, 31, 2024, 2025, 2026):
        targets = assert_as_defined(probability, max_targets=most)
        assert (targets.total, targets.truncated) == (2025, most < 2025)


def test_equal_peaks_are_decided_by_the_mean_then_by_the_place() -> None:
    probability = np.zeros((9, 60), np.float32)
    probability[[1, 4, 7], 3] = 0.75
    probability[[1, 4, 7], 10:12] = [[0.75, 0.7], [0.75, 0.6], [0.75, 0.7]]
    probability[4, 40:43] = [0.75, 0.75, 0.75]
    for most in range(1, 8):
        assert_as_defined(probability, max_targets=most)


def test_a_batch_is_its_frames() -> None:
    rng = np.random.default_rng(2)
    maps = rng.random((4, 33, 65), np.float32)
    maps[1] = 0.0
    frames = rng.integers(0, 900, maps.shape, np.uint16)
    batch = extract_targets_phases(maps, frames, 0.9, max_targets=20)
    for index in range(4):
        expected = extract_targets(maps[index], frames[index], 0.9, max_targets=20, backend="numpy")
        assert_same_targets(batch.targets(index), expected)


def test_a_padded_map_and_rows_apart() -> None:
    probability, frame = planted()
    padded = np.pad(probability, ((0, 9), (0, 7)), constant_values=1.0)
    wide = np.pad(frame, ((0, 3), (0, 5)))[:, :97][:64]
    expected = extract_targets(probability, frame, backend="numpy")
    got = extract_targets_phases(padded[None, :64, :97], wide[None]).targets(0)
    assert_same_targets(got, expected)


def contrast_frames() -> dict[str, npt.NDArray[Any]]:
    flat = np.full((40, 50), 700, np.uint16)
    bright, dark, mostly = flat.copy(), flat.copy(), flat.copy()
    bright[20, 20] = 65535
    dark[20, 20] = 0
    mostly[::3, ::5] = 701
    return {
        "flat": flat,
        "a bright target on a flat frame": bright,
        "a dark one": dark,
        "more than half of the ring is one value": mostly,
        "saturated": np.where(np.random.default_rng(0).random((40, 50)) < 0.6, 65535, 60000).astype(
            np.uint16
        ),
        "halves of a count": np.random.default_rng(1).integers(0, 2, (40, 50), np.uint8),
        "negative floats": (mostly.astype(np.float32) - 1e4) * np.float32(1e30),
        "subnormal halves": (mostly - 699).view(np.float16),
    }


@pytest.mark.parametrize("name", contrast_frames())
@pytest.mark.parametrize(("row", "column"), [(20, 20), (0, 0), (39, 49)])
def test_contrast_on_hard_frames(name: str, row: int, column: int) -> None:
    probability = np.zeros((40, 50), np.float32)
    probability[row, column] = probability[max(row - 6, 0), max(column - 4, 0)] = 0.9
    assert_as_defined(probability, contrast_frames()[name])


def test_too_few_pixels_around_a_target_say_nothing() -> None:
    probability = np.full((7, 13), 0.9, np.float32)
    probability[0, 0] = 0.1
    targets = assert_as_defined(probability, np.arange(91, dtype=np.uint16).reshape(7, 13))
    assert np.isnan(targets.snr).all()


maps = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14),
    elements=st.sampled_from([0.0, 0.25, 0.5, np.float32(0.6), 0.75, 1.0]),
    fill=st.just(0.0),
)


@settings(deadline=None, max_examples=100)
@given(maps, st.integers(1, 5), st.sampled_from([2.0**-16, 0.25, 0.5, 0.6, 1.0]), st.integers(0, 2**32 - 1))
def test_any_map(probability: Map, most: int, threshold: float, seed: int) -> None:
    frame = np.random.default_rng(seed).integers(0, 4, probability.shape, np.uint8)
    assert_as_defined(probability, frame, threshold=threshold, max_targets=most)


@settings(deadline=None, max_examples=60)
@given(maps, st.integers(0, 40), st.integers(0, 9))
def test_translation(probability: Map, right: int, down: int) -> None:
    targets = extract_targets_phases(probability[None]).targets(0)
    moved = np.pad(probability, ((down, 3), (right, 2)))
    shifted = extract_targets_phases(moved[None]).targets(0)
    assert np.array_equal(shifted.area, targets.area)
    assert np.array_equal(shifted.xyxy, targets.xyxy + np.array([right, down] * 2, np.float32))


def sigmoid(logits: npt.NDArray[Any]) -> Map:
    wide = logits.astype(np.float64)
    return (1.0 / (1.0 + np.exp(-wide))).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_logits(dtype: Any) -> None:
    """The sigmoid is within three last places of float32; a logit of 0 stays below the threshold of 0.5."""
    rng = np.random.default_rng(4)
    logits = (rng.normal(0, 1, (2, 50, 70)) * 4 - 3).astype(dtype)
    logits[0, 0, :4] = [0.0, np.inf, -np.inf, 30000.0]
    batch = extract_targets_phases(logits, logits=True)
    for index in range(2):
        expected = extract_targets(sigmoid(logits[index]), backend="numpy")
        got = batch.targets(index)
        assert np.array_equal(got.xyxy, expected.xyxy)
        assert np.array_equal(got.area, expected.area)
        for name in ("peak", "mean"):
            np.testing.assert_array_max_ulp(getattr(got, name), getattr(expected, name), 3)
        assert np.abs(got.xy - expected.xy).max() < 1e-5


def test_the_sigmoid_over_its_range() -> None:
    """Each pixel its own target, so that every peak is one value of the sigmoid."""
    logits = np.full((1, 80, 80), -100.0, np.float32)
    values = np.linspace(-11.0, 100.0, 1600, dtype=np.float32).reshape(40, 40)
    logits[0, ::2, ::2] = values
    targets = extract_targets_phases(logits, None, 2.0**-16, logits=True, max_targets=1600).targets(0)
    np.testing.assert_array_max_ulp(targets.peak, sigmoid(values).ravel(), 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("packed", [True, False])
def test_the_head_of_the_network_inside(dtype: Any, packed: bool) -> None:
    """Fine and coarse 1x1 convolutions, depth-to-space, sum and sigmoid, against the same in float64."""
    rng = np.random.default_rng(6)
    height, width, factor = 33, 65, 2 if packed else 1
    fine = rng.normal(0, 1, (2, 36 // factor, 68 // factor, 16)).astype(dtype)
    coarse = rng.normal(0, 1, (2, 18, 34, 32)).astype(dtype)
    weights = [
        rng.normal(0, 0.5, (outputs, c)).astype(np.float32) for outputs, c in ((factor**2, 16), (4, 32))
    ]
    bias = np.full(factor**2, -2.0, np.float32)
    sources = [HeadSource(fine, weights[0], bias), HeadSource(coarse, weights[1])]

    def full(features: npt.NDArray[Any], weight: npt.NDArray[Any], step: int) -> npt.NDArray[Any]:
        logits = features.astype(np.float64) @ weight.T.astype(np.float64)
        spread = logits.reshape(*logits.shape[:3], step, step).transpose(0, 1, 3, 2, 4)
        return spread.reshape(2, logits.shape[1] * step, -1)[:, :height, :width]

    logits = full(fine, weights[0], factor) + full(coarse, weights[1], 2) - 2.0
    assert np.abs(logits).min() > 1e-5, "a logit at the threshold may fall on either side"
    batch = extract_targets_phases(sources, shape=(height, width))
    for index in range(2):
        expected = extract_targets(sigmoid(logits[index]), backend="numpy")
        got = batch.targets(index)
        assert np.array_equal(got.xyxy, expected.xyxy)
        assert np.abs(got.peak - expected.peak).max() < 1e-5
        assert np.abs(got.xy - expected.xy).max() < 1e-4


def test_what_is_no_probability_is_refused_with_its_count() -> None:
    maps = np.zeros((3, 40, 70), np.float32)
    maps[:, 5, 5] = 0.9
    maps[1, 0, 0], maps[1, 39, 69], maps[1, 20, 20], maps[1, 2, 3] = np.nan, np.inf, -np.inf, 1.5
    batch = extract_targets_phases(maps)
    assert len(batch.targets(0)) == len(batch.targets(2)) == 1
    assert batch.headers[1].tolist() == (0, 0, 4, 0)
    with pytest.raises(ValueError, match="4 values"):
        batch.targets(1)
    logits = np.where(np.isnan(maps), np.nan, -1.0).astype(np.float32)
    assert extract_targets_phases(logits, logits=True).headers["invalid"].tolist() == [0, 1, 0]


def test_a_frame_that_is_not_finite_has_no_targets_and_says_so() -> None:
    probability, frame = planted()
    frames = np.stack([frame, frame]).astype(np.float32)
    frames[1, 3, 3] = np.nan
    _, statistics = standardise_cuda.standardise_phases(frames, frame.shape)
    batch = extract_targets_phases(np.stack([probability] * 2), frames, statistics=statistics)
    assert len(batch.targets(0)) == 4
    assert batch.headers[1].tolist() == (0, 0, 0, 1)
    with pytest.raises(ValueError, match="1 NaN or infinite"):
        batch.targets(1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"max_targets": 0}, "capacity"),
        ({"max_targets": 65536}, "capacity"),
        ({"shape": (0, 5)}, "height and width"),
        ({"shape": (8192, 8192)}, "2\\^24"),
        ({"map": np.zeros((1, 4, 4), np.float16)}, "must be float32"),
    ],
)
def test_arguments_that_do_not_fit_are_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="adjacent columns"):
        extract_targets_phases(np.zeros((1, 8, 16), np.float32)[..., ::2])
    given: dict[str, Any] = {"map": np.zeros((1, 8, 8), np.float32)} | change
    with pytest.raises(ValueError, match=words):
        extract_targets_phases(given.pop("map"), **given)


def test_the_backend_cuda_runs_or_says_why() -> None:
    probability, frame = planted()
    reason = native.cuda_missing_reason()
    if reason:
        with pytest.raises(NativeUnavailable, match=re.escape(reason)):
            extract_targets(probability, frame, backend="cuda")
    else:
        expected = extract_targets(probability, frame, backend="numpy")
        assert_same_targets(extract_targets(probability, frame, backend="cuda"), expected)


def test_sources_that_do_not_cover_the_frame_are_refused() -> None:
    source = HeadSource(np.zeros((1, 4, 4, 16), np.float32), np.zeros((4, 16), np.float32))
    assert extract_targets_phases([source], shape=(8, 7)).targets(0).total == 0
    with pytest.raises(ValueError, match="cover"):
        extract_targets_phases([source], shape=(9, 8))
    with pytest.raises(ValueError, match="channels"):
        extract_targets_phases([HeadSource(source.map[..., :12].copy(), source.weight)], shape=(8, 8))
