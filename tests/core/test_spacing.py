# SPDX-License-Identifier: Apache-2.0
"""A few of many: as many as asked for, in order, both ends among them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from pitviper.core.spacing import evenly_spaced


@pytest.mark.parametrize(("length", "count"), [(0, 3), (1, 1), (5, 0), (5, -2), (5, 9), (100, 7), (7, 6)])
def test_as_many_as_asked_for_and_evenly(length: int, count: int) -> None:
    found = evenly_spaced(range(length), count)
    assert len(found) == min(length, max(count, 0))
    assert found == sorted(set(found))
    if len(found) > 1:
        assert (found[0], found[-1]) == (0, length - 1)
        steps = [b - a for a, b in pairwise(found)]
        assert max(steps) - min(steps) <= 1, "rounding moves each by half a place at most"
