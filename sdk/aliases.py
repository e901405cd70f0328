# SPDX-License-Identifier: Apache-2.0
"""Argument names that people bring from other libraries: accepted with one note, or refused."""

from __future__ import annotations

import functools
import logging
from typing import Any

from pitviper.sdk.errors import InputError
from pitviper.sdk.log_odds import LogOdds

__all__ = ["resolve_precision", "resolve_threshold"]

_LOG = logging.getLogger("pitviper")


def resolve_threshold(threshold: float | None, others: dict[str, Any], call: str) -> float | None:
    """The threshold that was meant, checked; None when none was given.

    Args:
        threshold: Argument of that name.
        others: Further keyword arguments of the call.
        call: Name of the call, for messages.

    Raises:
        InputError: Not in [0, 1), given twice, or ``imgsz`` was given.
        TypeError: A keyword that the call does not have.
    """
    if "imgsz" in others:
        raise InputError(
            "imgsz= has no counterpart: frames are never resized, because a target of two pixels does not "
            "survive it. Leave it out; very large frames are tiled"
        )
    if "half" in others:
        raise InputError(
            f"half= is decided when the detector is made, not in {call}; the argument is precision="
        )
    if "conf" in others:
        if threshold is not None:
            raise InputError("threshold= and its alias conf= were both given; pass threshold only")
        threshold = others["conf"]
        _note_once("conf= is taken as threshold=, the probability that a pixel has to exceed")
    unknown = sorted(set(others) - {"conf"})
    if unknown:
        raise TypeError(f"{call}() got an unexpected keyword argument {unknown[0]!r}")
    if threshold is None:
        return None
    if isinstance(threshold, LogOdds):
        return threshold
    try:
        if isinstance(threshold, bool):
            raise TypeError
        value = float(threshold)
    except (TypeError, ValueError) as error:
        raise InputError(f"threshold must be a probability in [0, 1), got {threshold!r}") from error
    if not 0.0 <= value < 1.0:
        raise InputError(f"threshold must be a probability in [0, 1), got {value}; 0.5 is usual")
    return value


def resolve_precision(precision: str, others: dict[str, Any]) -> str:
    """The precision that was meant: ``half=True`` is ``fp16``, ``half=False`` is ``fp32``. Takes it out of ``others``.

    Raises:
        InputError: ``half`` is no bool, or both were given.
    """
    if "half" not in others:
        return precision
    half = others.pop("half")
    if not isinstance(half, bool):
        raise InputError(f"half must be True or False, got {half!r}; or pass precision= instead")
    if precision != "auto":
        raise InputError("precision= and its alias half= were both given; pass precision only")
    meant = "fp16" if half else "fp32"
    _note_once(f"half={half} is taken as precision={meant!r}")
    return meant


@functools.cache
def _note_once(text: str) -> None:
    _LOG.warning(text)
