# SPDX-License-Identifier: Apache-2.0
"""What `standardise` promises, on each backend, and that the compiled code equals the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pitviper.kernels import NORMALISATION, standardise
from pitviper.kernels.registry import BackendName
from pitviper.kernels.standardise import reference
from pitviper.kernels.testing import assert_close

BACKENDS: tuple[BackendName, ...] = ("host", "numpy")
every_backend = pytest.mark.parametrize("backend", BACKENDS)
DTYPES = (np.uint8, np.uint16, np.float16, np.float32)


def scene(shape: tuple[int, int] = (41, 67), *, top: int = 1700, seed: int = 0) -> npt.NDArray[np.uint16]:
    """A ramp with noise and targets of 1, 2, 9 and 80 pixels, uint16 with values up to ``top``."""
    rng = np.random.default_rng(seed)
    frame = np.linspace(0.2, 0.5, shape[1]) + rng.normal(0, 0.01, shape)
    for row, column, height, width in ((3, 5, 1, 1), (3, 20, 1, 2), (12, 8, 3, 3), (24, 30, 8, 10)):
        frame[row : row + height, column : column + width] += 0.4
    return np.clip(frame * top, 0, top).astype(np.uint16)


def test_normalisation_names_these_constants() -> None:
    found = (NORMALISATION, reference.RESIDUAL_WEIGHT, reference.DEVIATION_WEIGHT, reference.BOX)
    assert found == ("standardise-v1", 2.0, 0.1, 5), "another definition needs another name"


def test_definition_on_a_frame_computed_by_hand() -> None:
    """One pixel of 225 in 225 pixels of 0: the mean is 1, and the box mean is 9 where the box reaches it."""
    frame = np.zeros((15, 15), np.uint8)
    frame[7, 7] = 225
    residual = np.zeros((15, 15))
    residual[5:10, 5:10] = -225 / 25
    residual[7, 7] += 225
    scale = 2 * residual.std() + 0.1 * frame.std()
    expected = (frame.astype(np.float64) - 1.0) / scale
    for backend in BACKENDS:
        assert np.allclose(standardise(frame, backend=backend), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 3), (3, 64), (64, 3), (4, 5), (5, 5), (7, 13), (33, 129), (300, 5)])
def test_host_equals_definition(dtype: Any, shape: tuple[int, int]) -> None:
    frame = scene((64, 129), top=250)[: shape[0], : shape[1]].astype(dtype)
    if shape[0] > 64:
        frame = np.random.default_rng(1).integers(0, 255, shape).astype(dtype)
    assert_close(standardise(frame, backend="host"), reference.standardise_reference(frame), "standardise")


@pytest.mark.parametrize("bits", range(1, 17))
def test_host_equals_definition_for_any_valid_bits(bits: int) -> None:
    frame = np.random.default_rng(bits).integers(0, 2**bits, (31, 45), np.uint16)
    assert_close(standardise(frame, backend="host"), reference.standardise_reference(frame), "standardise")


HARD = {
    "a hot first pixel": np.pad(np.full((1, 1), 65535, np.uint16), ((0, 30), (0, 40)), constant_values=30000)
    + np.eye(31, 41, 3, dtype=np.uint16),
    "one count in one pixel": np.full((40, 50), 65000, np.uint16) + (np.arange(2000).reshape(40, 50) == 777),
    "noise of a count on a high offset": np.random.default_rng(2).integers(65000, 65002, (64, 64), np.uint16),
    "full range noise": np.random.default_rng(3).integers(0, 2, (128, 300), np.uint16) * 65535,
    "one last place at 1e8": np.full((20, 30), 1e8, np.float32) + 8 * np.eye(20, 30, dtype=np.float32),
    "the whole range of float32": np.where(np.eye(20, 31, dtype=bool), 3.4e38, -3.4e38).astype(np.float32),
    "a hot first float": np.pad(np.full((1, 1), 1e30, np.float32), ((0, 20), (0, 20)), constant_values=1),
    "subnormal floats": (np.arange(600).reshape(20, 30) % 7 * np.float32(1e-45)).astype(np.float32),
    "subnormal halves": (np.arange(600).reshape(20, 30) % 7).astype(np.uint16).view(np.float16),
    "negative halves": -np.random.default_rng(4).random((21, 33)).astype(np.float16) * 60000,
    "kelvin": (293 + np.random.default_rng(5).normal(0, 0.02, (60, 80))).astype(np.float32),
    "smooth": np.add.outer(np.arange(90.0) ** 2, np.arange(70.0)).astype(np.float32),
}


@pytest.mark.parametrize("name", HARD)
def test_host_equals_definition_on_hard_frames(name: str) -> None:
    frame = HARD[name]
    frame = frame.astype(np.uint16) if frame.dtype.kind in "iu" else frame
    expected = reference.standardise_reference(frame)
    assert np.isfinite(expected).all()
    assert expected.any()
    assert_close(standardise(frame, backend="host"), expected, "standardise")


def test_host_equals_definition_on_a_large_frame() -> None:
    frame = scene((1100, 2100), top=16000)
    expected = reference.standardise_reference(frame, stride=32)
    assert_close(standardise(frame, stride=32, backend="host"), expected, "standardise")


@every_backend
@pytest.mark.parametrize(("gain", "offset"), [(37, 1200), (1, 1), (1, 60000), (2, 0), (38, 935)])
def test_gain_and_offset(backend: BackendName, gain: int, offset: int) -> None:
    """Exact but for one rounding of float32, since these frames hold gain * x + offset exactly."""
    frame = scene(top=1700)
    expected = standardise(frame, backend=backend)
    changed = frame.astype(np.int64) * gain + offset
    assert changed.max() <= 65535
    for dtype in (np.uint16, np.float32):
        assert_close(standardise(changed.astype(dtype), backend=backend), expected, "standardise")


@every_backend
@pytest.mark.parametrize(("gain", "offset"), [(0.01, -273.15), (1e-6, 0.0), (1e6, 1e6), (np.pi, -1.0)])
def test_gain_and_offset_of_floats(backend: BackendName, gain: float, offset: float) -> None:
    """The frame itself is rounded: half a last place of its largest value, over the scale, in each pixel."""
    frame = scene(top=1700)
    changed = (frame * gain + offset).astype(np.float32)
    expected = standardise(frame, backend=backend)
    deviation = np.ptp(frame) / np.ptp(expected)
    bound = 4 * np.spacing(np.abs(changed).max()) / (gain * deviation) + 1e-6
    assert np.abs(standardise(changed, backend=backend) - expected).max() < bound


@every_backend
def test_a_target_does_not_shrink_under_contrast(backend: BackendName) -> None:
    """A ramp over the frame ten times the target: by the frame's deviation it would keep a twentieth."""
    noise = np.random.default_rng(6).normal(0, 5, (128, 128)) + 10000
    noise[60, 60] += 60
    ramp = np.linspace(0, 600, 128)
    faint = standardise((noise + ramp).astype(np.float32), backend=backend)
    plain = standardise(noise.astype(np.float32), backend=backend)
    assert (faint[60, 60] - faint[60, 59]) > 0.3 * (plain[60, 60] - plain[60, 59])


@every_backend
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0, 1, 200])
def test_constant_frame_is_zero(backend: BackendName, dtype: Any, value: int) -> None:
    result = standardise(np.full((9, 14), value, dtype), stride=8, backend=backend)
    assert result.shape == (16, 16)
    assert not result.any()


@every_backend
def test_one_pixel_is_seen(backend: BackendName) -> None:
    frame = np.full((40, 50), 30000, np.uint16)
    frame[11, 22] += 1
    result = standardise(frame, backend=backend)
    assert np.unravel_index(int(result.argmax()), result.shape) == (11, 22)
    assert result[11, 22] > 5
    assert np.unique(result).size == 2


@every_backend
@pytest.mark.parametrize("stride", [1, 2, 7, 16, 32])
@pytest.mark.parametrize("dtype", DTYPES)
def test_padding_is_numpy_reflection(backend: BackendName, stride: int, dtype: Any) -> None:
    frame = scene((41, 67), top=250).astype(dtype)
    plain = standardise(frame, backend=backend)
    expected = np.pad(plain, ((0, -41 % stride), (0, -67 % stride)), mode="reflect")
    assert_close(standardise(frame, stride=stride, backend=backend), expected, "exact")


frames = st.one_of(
    npst.arrays(dtype, npst.array_shapes(min_dims=2, max_dims=2, min_side=3, max_side=12), elements=elements)
    for dtype, elements in (
        (np.uint8, st.integers(0, 255)),
        (np.uint16, st.integers(0, 65535)),
        (np.float16, st.floats(-60000, 60000, width=16)),
        (np.float32, st.floats(-(2.0**100), 2.0**100, width=32)),
    )
)


@settings(deadline=None, max_examples=150)
@given(frames)
def test_host_equals_definition_on_any_frame(frame: npt.NDArray[Any]) -> None:
    assert_close(standardise(frame, backend="host"), reference.standardise_reference(frame), "standardise")


@settings(deadline=None, max_examples=60)
@given(frames, st.sampled_from(BACKENDS))
def test_flips_and_transposition(frame: npt.NDArray[Any], backend: BackendName) -> None:
    expected = standardise(frame, backend=backend)
    for turn in (np.flipud, np.fliplr, np.transpose):
        assert_close(
            standardise(turn(frame), backend=backend), turn(expected), "standardise", what=turn.__name__
        )
