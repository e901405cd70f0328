# SPDX-License-Identifier: Apache-2.0
"""`LogOdds`: a threshold where probabilities in float32 are all 1."""

from __future__ import annotations

import math
import numbers
from typing import Final

from pitviper.sdk.errors import InputError

__all__ = ["LogOdds", "log_odds_of", "threshold_text"]

_LOWEST: Final = -80.0
"""Below this a probability in float32 is nearly 0, and no longer tells a pixel that counts from one that does not."""
_BELOW_ONE: Final = math.nextafter(1.0, 0.0)


class LogOdds(float):
    """A threshold by the logarithm of the odds, ln(p / (1 - p)): what the network gives before its sigmoid.

    In float32 every probability from log-odds of 16.6 on is 1, and a strict budget of false alarms may need more. As a
    number it is the probability, just below 1 at most.

    Attributes:
        log_odds: What it was made of, -80 to 10,000; 0 is a probability of 0.5.

    Raises:
        InputError: Out of range.

    Example:
        >>> LogOdds(0.0) == 0.5, LogOdds(40) < 1, LogOdds(40)
        (True, True, LogOdds(40))
    """

    log_odds: float

    def __new__(cls, log_odds: float) -> LogOdds:
        if isinstance(log_odds, bool) or not isinstance(log_odds, numbers.Real):
            raise InputError(f"log-odds must be a number, got {log_odds!r}")
        value = float(log_odds.log_odds if isinstance(log_odds, LogOdds) else log_odds)
        if not _LOWEST <= value <= 1e4:
            raise InputError(f"log-odds must lie between {_LOWEST:g} and 10000, got {log_odds!r}")
        made = super().__new__(cls, min(1.0 / (1.0 + math.exp(-value)), _BELOW_ONE))
        made.log_odds = value
        return made

    def __getnewargs__(self) -> tuple[float]:
        # What a copy is made of.
        return (self.log_odds,)

    def __repr__(self) -> str:
        return f"LogOdds({self.log_odds:.6g})"

    __str__ = __repr__


def log_odds_of(threshold: float) -> float:
    """Log-odds of a threshold: a `LogOdds`, or a probability in [0, 1]."""
    if isinstance(threshold, LogOdds):
        return threshold.log_odds
    if threshold <= 0:
        return -math.inf
    return math.inf if threshold >= 1 else math.log(threshold) - math.log1p(-threshold)


def threshold_text(threshold: float) -> str:
    """A threshold for people: a probability, or log-odds where probabilities cannot tell it from 1."""
    return f"log-odds {threshold.log_odds:.4g}" if isinstance(threshold, LogOdds) else f"{threshold:g}"
