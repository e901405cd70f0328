# SPDX-License-Identifier: Apache-2.0
"""Numbers that a caller gave: of the right type and in range, or an error that says what is wanted."""

from __future__ import annotations

import math
import numbers
from typing import Any

from pitviper.sdk.errors import InputError

__all__ = ["is_whole", "require_number", "require_whole"]


def is_whole(value: object) -> bool:
    """Whether it is a whole number of Python or NumPy; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def require_whole(name: str, value: Any, *, least: int, note: str = "") -> None:
    """Raise unless ``value`` is a whole number of at least ``least``.

    Args:
        name: Of the argument, for the message.
        value: What was given.
        least: Smallest allowed value.
        note: What it counts or what else may be given, for the message.

    Raises:
        InputError: Of another type (True and 2.0 too), or too small.
    """
    if not (is_whole(value) and value >= least):
        raise InputError(f"{name} must be a whole number of at least {least}{note}, got {value!r}")


def require_number(
    name: str,
    value: Any,
    *,
    least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    unit: str = "",
    endless: bool = False,
) -> None:
    """Raise unless ``value`` is a real number in the range; NaN never is.

    Args:
        name: Of the argument, for the message.
        value: What was given.
        least: Smallest allowed value.
        above: Value that must be exceeded.
        below: Value that must not be reached.
        unit: Of the number, for the message.
        endless: Whether infinity will do.

    Raises:
        InputError: Of another type (True too), or out of range.
    """
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if number and ((least <= value < below and value > above) or (endless and value == math.inf)):
        return
    bounds = [
        text
        for text, given in (
            (f"of at least {least:g}", least),
            (f"above {above:g}", above),
            (f"below {below:g}", below),
        )
        if math.isfinite(given)
    ]
    words = " ".join(filter(None, ("a number" if endless else "a finite number", " and ".join(bounds), unit)))
    raise InputError(f"{name} must be {words}, got {value!r}")
