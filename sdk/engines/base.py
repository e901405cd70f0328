# SPDX-License-Identifier: Apache-2.0
"""The protocol between the detector and whatever runs the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Engine", "EngineInfo", "EngineStatus", "LogOddsEngine"]


@dataclass(frozen=True)
class EngineInfo:
    """What runs the network, as it really is (never as it was asked for).

    Attributes:
        name: Key of the registry, ``onnxruntime`` for instance.
        version: Version of that runtime.
        device: Where the network runs, ``cpu`` or ``cuda:0`` for instance.
        precision: Number format of the convolutions: ``fp32``, ``bf16`` or ``int8``.
        threads: Threads that the network may use; None where the runtime does not say.
        chosen_by: ``caller`` when the engine was asked for by name, ``auto`` when it was chosen.
        passed_over: For ``auto``: engines that come first, each with the reason why it was not taken.
    """

    name: str
    version: str
    device: str
    precision: str
    threads: int | None
    chosen_by: str = "caller"
    passed_over: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, safe for JSON."""
        return {**vars(self), "passed_over": list(self.passed_over)}


@dataclass(frozen=True)
class EngineStatus:
    """Whether an engine can run here, and if not, why and what to do."""

    name: str
    usable: bool
    reason: str
    version: str | None = None


@runtime_checkable
class Engine(Protocol):
    """Runs the network of one package. ``Detector`` calls it from one thread at a time."""

    @property
    def info(self) -> EngineInfo:
        """What it really runs on."""
        ...

    def run(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities of standardised frames.

        Args:
            frames: float32 [N, 1, Hp, Wp] in C order, standardised, sides multiples of the model's stride.
                Not written to, and not kept after the call.

        Returns:
            float32 [N, 1, Hp, Wp] in [0, 1], memory that the engine does not touch again.

        Raises:
            EngineError: The runtime failed.
        """
        ...

    def close(self) -> None:
        """Let go of the network. Calling it twice is fine."""
        ...


@runtime_checkable
class LogOddsEngine(Protocol):
    """An `Engine` that can also give what goes into the last sigmoid, for thresholds by `LogOdds`."""

    @property
    def gives_log_odds(self) -> bool:
        """Whether this one can, in its precision."""
        ...

    def log_odds(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `Engine.run`, before the sigmoid: float32 [N, 1, Hp, Wp] of any size."""
        ...
