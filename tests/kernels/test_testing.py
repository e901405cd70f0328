# SPDX-License-Identifier: Apache-2.0
"""The comparison sees what a mean does not: one wrong pixel in a large map."""

from __future__ import annotations

import numpy as np
import pytest

from pitviper.kernels import extract_targets
from pitviper.kernels.testing import assert_close, assert_same_targets


def test_assert_close_sees_one_pixel() -> None:
    expected = np.zeros((256, 256), np.float32)
    actual = expected.copy()
    actual[17, 200] = 1e-6
    with pytest.raises(AssertionError, match=r"1 of 65536 .* worst at \(17, 200\)"):
        assert_close(actual, expected, "standardise")


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_assert_close_with_values_that_are_no_numbers(odd: float) -> None:
    expected = np.array([odd, 1.0], np.float32)
    assert_close(expected.copy(), expected, "exact")
    for other in (np.array([0.0, 1.0], np.float32), np.array([1.0, odd], np.float32)):
        with pytest.raises(AssertionError):
            assert_close(other, expected, "standardise")
        with pytest.raises(AssertionError):
            assert_close(expected, other, "standardise")


def test_assert_close_refuses_another_type_or_shape() -> None:
    expected = np.zeros(3, np.float32)
    with pytest.raises(AssertionError, match="float64"):
        assert_close(np.zeros(3), expected, "exact")
    with pytest.raises(AssertionError, match=r"\(4,\)"):
        assert_close(np.zeros(4, np.float32), expected, "exact")


def test_assert_same_targets_sees_a_missing_target() -> None:
    probability = np.zeros((9, 9), np.float32)
    probability[2, 2] = probability[6, 6] = 0.9
    both, one = extract_targets(probability), extract_targets(probability, max_targets=1)
    assert_same_targets(both, both)
    with pytest.raises(AssertionError, match="targets, total, truncated"):
        assert_same_targets(one, both)
