# SPDX-License-Identifier: Apache-2.0
"""How weights are averaged in the course of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim.swa_utils import get_ema_multi_avg_fn


def warmed_average(decay: float) -> Callable[[Any, Any, Any], None]:
    """Exponential moving average for ``AveragedModel``, whose decay rises to ``decay`` as the steps go.

    After n steps it is at most (1 + n) / (10 + n), as in TensorFlow's ``ExponentialMovingAverage``: without it the
    average of a run of a few hundred steps is mostly the random weights that it began with.

    Args:
        decay: Share of the average that a step keeps at last, in [0, 1).
    """

    def update(averaged: Any, current: Any, number: Any) -> None:
        n = int(number)
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, current, number)  # type: ignore[no-untyped-call]

    return update
