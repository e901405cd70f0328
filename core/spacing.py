# SPDX-License-Identifier: Apache-2.0
"""A few of many, evenly spaced: the choice of what is shown, or trained with, where all would be too much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

__all__ = ["evenly_spaced"]

Item = TypeVar("Item")


def evenly_spaced(items: Sequence[Item], count: int) -> list[Item]:
    """At most ``count`` of them in their order, evenly spaced, the first and (of two or more) the last among them."""
    places = np.unique(np.linspace(0, len(items) - 1, max(min(count, len(items)), 0)).round().astype(int))
    return [items[int(place)] for place in places]
