# SPDX-License-Identifier: Apache-2.0
"""Values of a settings file as the fields of its dataclass want them, or an error that names the setting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any


def read_setting(name: str, kind: str, value: Any) -> Any:
    """The value as its field has it: lists become tuples, and nothing else is converted.

    Args:
        name: Of the setting, for the message.
        kind: Annotation of the field.
        value: From JSON or a caller.

    Raises:
        ValueError: The value is of another type.
    """
    read, wanted = _KINDS[kind]
    try:
        return read(value)
    except TypeError:
        raise ValueError(f"{name} must be {wanted}, got {value!r}") from None


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise TypeError
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _many(read: Callable[[Any], Any]) -> Callable[[Any], tuple[Any, ...]]:
    def read_many(value: Any) -> tuple[Any, ...]:
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise TypeError
        return tuple(read(each) for each in value)

    return read_many


def _stage(value: Any) -> tuple[float, int]:
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise TypeError
    return _number(value[0]), _whole(value[1])


_KINDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "int": (_whole, "a whole number"),
    "float": (_number, "a finite number"),
    "str": (_text, "a text"),
    "tuple[str, ...]": (_many(_text), "a list of texts"),
    "tuple[int, ...]": (_many(_whole), "a list of whole numbers such as [3, 6, 9, 12]"),
    "tuple[tuple[float, int], ...]": (
        _many(_stage),
        "a list of [share, side] such as [[0.5, 128], [1.0, 256]]",
    ),
}
