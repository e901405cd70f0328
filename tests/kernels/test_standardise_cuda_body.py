# SPDX-License-Identifier: Apache-2.0
"""The kernel bodies of `standardise`, run on the host: they equal the definition and keep what it promises."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from pitviper.kernels import NativeUnavailable, checks, memory, native, standardise
from pitviper.kernels.standardise import cuda_impl, reference
from pitviper.kernels.standardise.cuda_impl import standardise_phases
from pitviper.kernels.testing import assert_close

Frames = npt.NDArray[Any]


@pytest.fixture(autouse=True)
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workspaces and results begin as NaN in every type, so that what nobody writes shows."""
    plain = memory.aligned_empty

    def poison(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Frames:
        made = plain(shape, dtype)
        made.reshape(-1).view(np.uint8)[:] = 0xFF
        return made

    monkeypatch.setattr(memory, "aligned_empty", poison)


def scene(shape: tuple[int, int], *, top: int = 1700, seed: int = 0) -> npt.NDArray[np.uint16]:
    """A ramp with noise and, where they fit, targets of 1, 2, 9 and 80 pixels; values up to ``top``."""
    rng = np.random.default_rng(seed)
    frame = np.linspace(0.2, 0.5, shape[1]) + rng.normal(0, 0.01, shape)
    for row, column, height, width in ((3, 5, 1, 1), (3, 20, 1, 2), (12, 8, 3, 3), (24, 30, 8, 10)):
        frame[row : row + height, column : column + width] += 0.4
    return np.clip(frame * top, 0, top).astype(np.uint16)


def expected(frames: Frames, stride: int = 1) -> npt.NDArray[np.float32]:
    return np.stack([reference.standardise_reference(frame, stride) for frame in frames])


def assert_equals_definition(frames: Frames, stride: int = 1) -> None:
    want = expected(frames, stride)
    got, statistics = standardise_phases(frames, want.shape[1:])
    kind = "standardise-single" if frames.dtype.kind in "iu" else "standardise"
    assert_close(got[..., 0], want, kind)
    assert not statistics["nonfinite"].any()


@pytest.mark.parametrize("dtype", checks.FRAME_DTYPES)
@pytest.mark.parametrize("shape", [(3, 3), (3, 64), (64, 3), (7, 13), (33, 65), (32, 128), (70, 131)])
@pytest.mark.parametrize("batch", [1, 3])
def test_equals_definition(dtype: Any, shape: tuple[int, int], batch: int) -> None:
    frames = np.stack([scene((70, 131), top=250, seed=seed)[: shape[0], : shape[1]] for seed in range(batch)])
    assert_equals_definition(frames.astype(dtype))


def test_a_whole_frame_padded() -> None:
    """Many tiles, and the padding of a real network."""
    assert_equals_definition(scene((509, 634), top=16000)[None], stride=32)


@pytest.mark.parametrize("dtype", checks.FRAME_DTYPES)
def test_the_order_of_threads_changes_nothing(dtype: Any) -> None:
    """On the host threads take turns; a result that depends on their order would be a race on a GPU."""
    frames = scene((70, 131), top=250)[None].astype(dtype)
    forwards, _ = standardise_phases(frames, (96, 160), block=2, channels=8)
    native.load().take_turns_backwards(True)
    try:
        backwards, _ = standardise_phases(frames, (96, 160), block=2, channels=8)
    finally:
        native.load().take_turns_backwards(False)
    assert np.array_equal(forwards, backwards)


def test_more_tiles_than_blocks() -> None:
    """A strip of 600 tiles: some blocks take a second one."""
    assert_equals_definition(np.random.default_rng(1).integers(0, 65536, (1, 3, 600 * 64), np.uint16))


HARD = {
    "saturated": np.full((1, 40, 50), 65535, np.uint16) - 65535 * np.eye(40, 50, dtype=np.uint16)[None],
    "full range noise": np.random.default_rng(3).integers(0, 2, (1, 128, 130), np.uint16) * 65535,
    "one count in one pixel": np.full((1, 40, 50), 65000, np.uint16)
    + (np.arange(2000).reshape(1, 40, 50) == 777),
    "a hot first pixel": np.where(np.arange(1200).reshape(1, 30, 40) == 0, 65535, 30000 + np.arange(40) % 2),
    "the whole range of float32": np.where(np.eye(20, 31, dtype=bool), 3.4e38, -3.4e38).astype(np.float32)[
        None
    ],
    "subnormal floats": (np.arange(600).reshape(1, 20, 30) % 7 * np.float32(1e-45)).astype(np.float32),
    "a hot first float": np.pad(np.full((1, 1), 1e30, np.float32), ((0, 20), (0, 20)), constant_values=1)[
        None
    ],
    "negative halves": -np.random.default_rng(4).random((1, 21, 33)).astype(np.float16) * 60000,
}


@pytest.mark.parametrize("name", HARD)
def test_hard_frames(name: str) -> None:
    frames = HARD[name]
    assert_equals_definition(frames.astype(np.uint16) if frames.dtype.kind in "iu" else frames)


@pytest.mark.parametrize("dtype", checks.FRAME_DTYPES)
def test_flat_frames_are_zero(dtype: Any) -> None:
    flat = np.stack([np.full((9, 14), value, dtype) for value in (0, 1, 200)])
    got, statistics = standardise_phases(flat, (16, 16))
    assert not got.any()
    assert not statistics["scale"].any()
    assert statistics["mean"].tolist() == [0, 1, 200]


@pytest.mark.parametrize(("gain", "offset"), [(37, 1200), (1, 60000), (2, 0), (38, 935)])
def test_gain_and_offset_of_integers(gain: int, offset: int) -> None:
    """The sums of integers are exact, so only the roundings of single values remain."""
    frames = scene((41, 67))[None]
    changed = (frames.astype(np.int64) * gain + offset).astype(np.uint16)
    plain, _ = standardise_phases(frames, (41, 67))
    assert_close(standardise_phases(changed, (41, 67))[0], plain, "standardise-single")


small = npst.arrays(np.uint8, st.tuples(st.just(1), st.integers(3, 9), st.integers(3, 9)))


@settings(deadline=None, max_examples=60)
@given(small, st.integers(1, 100), st.integers(0, 40000))
def test_gain_and_offset_of_any_frame(frames: Frames, gain: int, offset: int) -> None:
    changed = (frames.astype(np.int64) * gain + offset).astype(np.uint16)
    plain, _ = standardise_phases(frames, frames.shape[1:])
    assert_close(standardise_phases(changed, frames.shape[1:])[0], plain, "standardise-single")
    assert_close(plain[..., 0], expected(frames), "standardise-single")


@settings(deadline=None, max_examples=60)
@given(npst.arrays(np.float32, (1, 5, 6), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_any_frame_of_floats(frames: Frames) -> None:
    assert_equals_definition(frames)


@pytest.mark.parametrize("stride", [1, 2, 7, 16, 32])
def test_padding_is_numpy_reflection(stride: int) -> None:
    frames = scene((41, 67))[None]
    plain = standardise_phases(frames, (41, 67))[0][0, ..., 0]
    want = np.pad(plain, ((0, -41 % stride), (0, -67 % stride)), mode="reflect")
    assert_close(standardise_phases(frames, want.shape)[0][0, ..., 0], want, "exact")


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(("block", "channels"), [(1, 8), (2, 8), (2, 16)])
def test_cells_hold_their_pixels_and_zeros(dtype: Any, block: int, channels: int) -> None:
    """Channel 2 * (row phase) + (column phase), as in pixel_unshuffle."""
    frames = np.stack([scene((41, 67), seed=seed) for seed in range(2)])
    plain = standardise_phases(frames, (48, 80), dtype=dtype)[0][..., 0]
    cells, _ = standardise_phases(frames, (48, 80), dtype=dtype, block=block, channels=channels)
    gathered = plain.reshape(2, 48 // block, block, 80 // block, block).transpose(0, 1, 3, 2, 4)
    assert cells.dtype == dtype
    assert np.array_equal(cells[..., : block * block], gathered.reshape(*cells.shape[:3], -1))
    assert not cells[..., block * block :].any()


def test_halves_are_the_rounded_floats() -> None:
    frames = scene((33, 65))[None]
    single, _ = standardise_phases(frames, (33, 65))
    half, _ = standardise_phases(frames, (33, 65), dtype=np.float16)
    assert np.array_equal(half, single.astype(np.float16))


def test_rows_apart_and_flipped() -> None:
    memory_of_more = np.stack([scene((80, 140), seed=seed) for seed in range(3)])
    for view in (memory_of_more[::2, ::3, 5:70], memory_of_more[:, ::-1, :61]):
        assert view.strides[2] == 2
        assert_equals_definition(view)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_what_is_not_finite_is_counted_and_spoils_its_frame_only(dtype: Any) -> None:
    frames = np.stack([scene((41, 67), top=900, seed=seed) for seed in range(3)]).astype(dtype)
    frames[1, 0, 0], frames[1, 40, 66], frames[1, 20, 33] = np.nan, np.inf, -np.inf
    got, statistics = standardise_phases(frames, (41, 67))
    assert statistics["nonfinite"].tolist() == [0, 3, 0]
    assert np.isnan(got[1]).all()
    assert_close(got[[0, 2], ..., 0], expected(frames[[0, 2]]), "standardise")


def test_statistics_are_those_of_the_definition() -> None:
    frames = scene((41, 67))[None]
    _, statistics = standardise_phases(frames, (41, 67))
    deviation = frames[0] - frames.mean()
    scale = 2 * (deviation - reference.box_mean(deviation)).std() + 0.1 * deviation.std()
    assert statistics["mean"][0] == pytest.approx(frames.mean(), rel=1e-12)
    assert statistics["scale"][0] == pytest.approx(scale, rel=1e-12)


def test_no_frames_is_nothing_to_do() -> None:
    got, statistics = standardise_phases(np.empty((0, 8, 8), np.uint16), (8, 8))
    assert (got.shape, statistics.shape) == ((0, 8, 8, 1), (0,))


def test_the_backend_cuda_runs_or_says_why() -> None:
    frame = scene((33, 65))
    reason = native.cuda_missing_reason()
    if reason:
        with pytest.raises(NativeUnavailable, match=re.escape(reason)):
            standardise(frame, backend="cuda")
    else:
        assert_close(standardise(frame, backend="cuda"), expected(frame[None])[0], "standardise-single")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "d"}, "type must be"),
        ({"shape": (1, 2, 8)}, "at least 3"),
        ({"shape": (-1, 8, 8)}, "batch"),
        ({"strides": (128, 15)}, "multiples of the sample"),
        ({"frames": 0}, "frames must point"),
        ({"out_shape": (7, 8)}, "padding smaller"),
        ({"out_shape": (16, 8)}, "padding smaller"),
        ({"block": 3}, "block must be"),
        ({"block": 2}, "block 2 needs"),
        ({"channels": 12}, "channels must be"),
        ({"out_dtype": 9}, "out_dtype"),
        ({"rule": (2.0, 0.1, 7)}, "box"),
        ({"workspace_bytes": 8}, "workspace is smaller"),
        ({"workspace": 4}, "workspace must be"),
    ],
)
def test_arguments_that_do_not_fit_are_named(change: dict[str, Any], words: str) -> None:
    frames = np.zeros((1, 8, 8), np.uint16)
    out, statistics = memory.aligned_empty((1, 8, 8, 1), np.float32), np.empty(1, cuda_impl.STATISTICS)
    workspace = memory.aligned_empty((4096,), np.uint8)
    given = cuda_impl.arguments(frames, out, (8, 8), statistics)
    given |= {"workspace": workspace.ctypes.data, "workspace_bytes": workspace.nbytes}
    native.load().standardise_phases(given, False)
    with pytest.raises(ValueError, match=words):
        native.load().standardise_phases(given | change, False)
