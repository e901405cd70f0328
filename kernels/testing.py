# SPDX-License-Identifier: Apache-2.0
"""How an implementation is compared with its definition: by the worst element, never by a mean.

A mean over a map cannot see that a target of one pixel is gone. Used by the tests and before every benchmark.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pitviper.kernels import native
from pitviper.kernels.conv_block import maps
from pitviper.kernels.extract_targets import Targets


@dataclass(frozen=True)
class Tolerance:
    """Each element may differ by ``absolute + relative * abs(expected)``; ``reason`` says why it has to."""

    relative: float
    absolute: float
    reason: str


_ULP: Final = float(np.finfo(np.float32).eps)

TOLERANCES: Final[dict[str, Tolerance]] = {
    "exact": Tolerance(0.0, 0.0, "same operations in the same order"),
    "standardise": Tolerance(
        _ULP, 1e-9, "float64 sums in another order move the float32 result across one rounding"
    ),
    "standardise-single": Tolerance(
        2.5 * _ULP,
        1e-9,
        "four roundings of float32: the mean's fraction, its subtraction, the gain, the product",
    ),
    "snr": Tolerance(_ULP, 0.0, "a root mean square summed in another order, rounded to float32"),
    "centroid": Tolerance(1e-12, 0.0, "float64 sums in another order"),
}
"""By what is compared. A new entry needs a reason that is arithmetic, not experience."""


def assert_close(
    actual: npt.NDArray[Any], expected: npt.NDArray[Any], tolerance: str, *, what: str = "result"
) -> None:
    """Raise AssertionError at the element that exceeds its bound most; NaN and infinities must be the same.

    Args:
        tolerance: key of `TOLERANCES`.
        what: named in the message.
    """
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        raise AssertionError(
            f"{what}: got {actual.dtype} {actual.shape}, expected {expected.dtype} {expected.shape}"
        )
    bound = TOLERANCES[tolerance]
    got, want = actual.astype(np.float64), expected.astype(np.float64)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    with np.errstate(invalid="ignore"):
        excess = np.abs(got - want) - (bound.absolute + bound.relative * np.abs(want))
    excess[same] = -1.0
    excess[~same & ~(np.isfinite(got) & np.isfinite(want))] = np.inf
    if excess.size and excess.max() > 0.0:
        worst = np.unravel_index(int(excess.argmax()), excess.shape)
        raise AssertionError(
            f"{what}: {np.count_nonzero(excess > 0.0)} of {excess.size} elements differ, the worst at "
            f"{tuple(int(i) for i in worst)}: got {actual[worst]!r}, expected {expected[worst]!r}, allowed "
            f"{bound.relative:g} relative + {bound.absolute:g} ({bound.reason})"
        )


def assert_same_targets(actual: Targets, expected: Targets) -> None:
    """Raise AssertionError unless both hold the same targets: identical but for the rounding of ``snr``."""
    found = (len(actual), actual.total, actual.truncated)
    wanted = (len(expected), expected.total, expected.truncated)
    if found != wanted:
        raise AssertionError(f"targets, total, truncated: got {found}, expected {wanted}")
    for name in ("xy", "xyxy", "area", "peak", "mean"):
        assert_close(getattr(actual, name), getattr(expected, name), "exact", what=name)
    assert_close(actual.snr, expected.snr, "snr", what="snr")


def whole_numbers(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32, *, most: int = 2
) -> npt.NDArray[Any]:
    """Aligned memory of whole numbers in [-most, most], in ``dtype``.

    With few and small weights every sum of products is exact in float32, so implementations must agree to the bit.
    """
    return maps.aligned(rng.integers(-most, most + 1, shape).astype(dtype))


def sparse_weight(
    rng: np.random.Generator, shape: tuple[int, int, int, int], *, present: float
) -> npt.NDArray[np.float32]:
    """Weights [out, in, side, side] of -1, 0 and 1, about ``present`` of each output's not 0.

    So few that sums of them and `whole_numbers` stay below 256, which bfloat16 holds exactly.
    """
    weight = rng.integers(-1, 2, shape).astype(np.float32)
    weight[rng.random(shape) >= present / np.prod(shape[1:])] = 0.0
    return weight


def assert_host_writes(
    run: Callable[[npt.NDArray[Any]], npt.NDArray[Any]], expected: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Raise AssertionError unless a launch of a CUDA body on the host writes ``expected`` to the bit.

    Args:
        run: ``run(out)`` launches into ``out`` and returns it. It is called with memory full of NaN, once for each
            order in which the threads of a block may take their turns: what differs would be a race on a GPU.

    Returns:
        What was written.
    """
    out = maps.empty(expected.shape, expected.dtype)
    for backwards in (True, False):
        out[...] = np.nan
        native.load().take_turns_backwards(backwards)
        if run(out) is not out:
            raise AssertionError("the launch answered with other memory than out=")
        np.testing.assert_array_equal(out.astype(np.float32), expected.astype(np.float32))
    return out
