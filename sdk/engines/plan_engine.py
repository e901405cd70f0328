# SPDX-License-Identifier: Apache-2.0
"""What the engines that run a plan have in common: probability and log-odds are one launch apart."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.engines.base import EngineInfo

__all__ = ["PlanEngine"]


class PlanEngine(ABC):
    """`Engine` over a plan of fused launches; a subclass sets ``_info`` and runs the plan."""

    _info: EngineInfo

    @property
    def info(self) -> EngineInfo:
        """What it really runs on."""
        return self._info

    @property
    def gives_log_odds(self) -> bool:
        """Always: the last launch writes float32 in every precision."""
        return True

    def run(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities float32 [N, 1, Hp, Wp] of standardised frames of the same shape. See `Engine.run`."""
        return self._map(frames, log_odds=False)

    def log_odds(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """What goes into the sigmoid, float32 [N, 1, Hp, Wp]."""
        return self._map(frames, log_odds=True)

    @abstractmethod
    def _map(self, frames: NDArray[np.float32], *, log_odds: bool) -> NDArray[np.float32]:
        """Run the plan."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the network."""
