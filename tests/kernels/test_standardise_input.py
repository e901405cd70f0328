# SPDX-License-Identifier: Apache-2.0
"""What `standardise` accepts, how it reads it, and what it says about the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pitviper.kernels import checks, standardise
from pitviper.kernels.registry import BackendName

every_backend = pytest.mark.parametrize("backend", ["host", "numpy"])
RNG = np.random.default_rng(0)
BIG = RNG.integers(0, 16000, (60, 90), np.uint16)
READ_IN_PLACE = {
    "whole": BIG,
    "window": BIG[5:37, 11:60],
    "every second row": BIG[::2],
    "upside down": BIG[::-1],
    "one row repeated": np.broadcast_to(BIG[3], (7, 90)),
}
COPIED = {
    "every second column": BIG[:, ::2],
    "mirrored": BIG[:, ::-1],
    "transposed": BIG.T,
    "one channel of three": np.stack([BIG] * 3, axis=-1)[..., 1],
    "big endian": BIG.astype(">u2"),
    "unaligned": np.frombuffer(b"\0" + BIG.tobytes(), np.uint16, offset=1).reshape(BIG.shape),
}


@every_backend
@pytest.mark.parametrize("name", [*READ_IN_PLACE, *COPIED])
def test_memory_layout_does_not_matter(backend: BackendName, name: str) -> None:
    frame = {**READ_IN_PLACE, **COPIED}[name]
    plain = np.array(frame, np.uint16, order="C")
    assert np.array_equal(standardise(frame, backend=backend), standardise(plain, backend=backend))


@pytest.mark.parametrize("name", READ_IN_PLACE)
def test_frames_with_adjacent_columns_are_not_copied(name: str) -> None:
    assert np.shares_memory(checks.require_frame(READ_IN_PLACE[name]), READ_IN_PLACE[name])


@every_backend
def test_input_is_never_written(backend: BackendName) -> None:
    frame = BIG.astype(np.float32)
    before = frame.copy()
    frame.flags.writeable = False
    standardise(frame, stride=16, backend=backend)
    assert np.array_equal(frame, before)


@every_backend
def test_out_is_filled_and_returned(backend: BackendName) -> None:
    out = np.full((2, 64, 96), np.nan, np.float32)
    assert np.shares_memory(result := standardise(BIG, stride=32, out=out[1], backend=backend), out)
    assert result.shape == (64, 96)
    assert np.isnan(out[0]).all()
    assert np.array_equal(out[1], standardise(BIG, stride=32, backend=backend))
    standardise(np.full((60, 90), 7, np.uint8), stride=32, out=out[1], backend=backend)
    assert not out[1].any()


FLOATS = BIG.astype(np.float32)
BAD_OUT = {
    "wrong shape": (np.empty((60, 90), np.float32), ValueError, r"padded shape \(64, 96\), got \(60, 90\)"),
    "wrong dtype": (np.empty((64, 96)), TypeError, "float32 (numpy )?array, got float64"),
    "no array": ([], TypeError, "float32 (numpy )?array, got list"),
    "not in C order": (np.empty((64, 192), np.float32)[:, ::2], ValueError, "C order"),
    "read-only": (np.broadcast_to(np.float32(0), (64, 96)), ValueError, "writeable"),
}


@every_backend
@pytest.mark.parametrize("name", BAD_OUT)
def test_unfit_out_is_refused(backend: BackendName, name: str) -> None:
    out, error, message = BAD_OUT[name]
    with pytest.raises(error, match=message):
        standardise(BIG, stride=32, out=out, backend=backend)  # type: ignore[arg-type]


@every_backend
def test_out_must_not_overlap(backend: BackendName) -> None:
    before = FLOATS.copy()
    with pytest.raises(ValueError, match="overlaps"):
        standardise(FLOATS, out=FLOATS, backend=backend)
    with pytest.raises(ValueError, match="overlaps"):
        standardise(FLOATS[:, ::-1], out=FLOATS, backend=backend)
    assert np.array_equal(FLOATS, before)


@every_backend
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_nonfinite_values_are_counted(backend: BackendName, dtype: Any) -> None:
    frame = RNG.random((37, 71)).astype(dtype)
    frame[0, 0], frame[-1, -1], frame[20, 40], frame[20, 41] = np.nan, np.inf, -np.inf, -np.nan
    out = np.full(frame.shape, 5, np.float32)
    with pytest.raises(ValueError, match="frame has 4 NaN or infinite values of 2627; replace"):
        standardise(frame, out=out, backend=backend)
    assert (out == 5).all()
    with pytest.raises(ValueError, match=f"frame has {37 * 71} NaN"):
        standardise(np.full_like(frame, np.nan), backend=backend)


BAD_FRAMES: dict[str, tuple[Any, type[Exception], str]] = {
    "a list": ([[1, 2], [3, 4]], TypeError, "plain numpy array .* got list; use np.asarray"),
    "nothing": (None, TypeError, "got NoneType"),
    "masked": (np.ma.MaskedArray(BIG), TypeError, "got MaskedArray"),
    "one row": (BIG[0], ValueError, r"\[H, W\], got shape \(90,\); reshape"),
    "colour": (np.zeros((9, 9, 3), np.uint8), ValueError, r"one channel, for example frame\[..., 0\]"),
    "a batch": (np.zeros((4, 9, 9), np.uint8), ValueError, r"one image at a time, for example frame\[0\]"),
    "four axes": (np.zeros((1, 1, 9, 9), np.uint8), ValueError, r"one image at a time"),
    "empty": (np.zeros((0, 9), np.uint8), ValueError, r"no pixel \(shape \(0, 9\)\)"),
    "two rows": (BIG[:2], ValueError, r"at least 3 rows and columns, got shape \(2, 90\)"),
    "two columns": (BIG[:, :2], ValueError, r"at least 3 rows and columns"),
    "int16": (BIG.astype(np.int16), TypeError, r"got int16; convert it, .* frame.astype\(np.uint16\)"),
    "int64": (BIG.astype(np.int64), TypeError, r"frame.astype\(np.uint16\)"),
    "float64": (BIG.astype(np.float64), TypeError, r"got float64; .* frame.astype\(np.float32\)"),
    "bool": (BIG > 5, TypeError, r"got bool; .* frame.astype\(np.uint8\)"),
    "complex": (BIG * 1j, TypeError, "got complex128"),
    "objects": (BIG.astype(object), TypeError, "got object"),
}


@every_backend
@pytest.mark.parametrize("name", BAD_FRAMES)
def test_bad_frame_is_refused_with_the_fix(backend: BackendName, name: str) -> None:
    frame, error, message = BAD_FRAMES[name]
    with pytest.raises(error, match=message):
        standardise(frame, backend=backend)


@every_backend
def test_padding_larger_than_the_frame_is_refused(backend: BackendName) -> None:
    frame: npt.NDArray[np.uint16] = BIG[:16, :17]
    with pytest.raises(
        ValueError, match=r"16 rows cannot be padded .* multiple of 32: it needs at least 17 rows"
    ):
        standardise(frame, stride=32, backend=backend)
    assert standardise(BIG[:17, :18], stride=32, backend=backend).shape == (32, 32)
    with pytest.raises(ValueError, match="stride must be at least 1, got 0"):
        standardise(BIG, stride=0, backend=backend)
    with pytest.raises(TypeError, match="integer"):
        standardise(BIG, stride=2.5, backend=backend)  # type: ignore[arg-type]
