# SPDX-License-Identifier: Apache-2.0
"""Several instances of one network, so that several threads can run it at the same time."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.engines import Engine
from pitviper.sdk.engines.base import LogOddsEngine
from pitviper.sdk.errors import EngineError

__all__ = ["Contexts"]


class Contexts:
    """Runs each call on a free instance, one call at a time on each.

    The locks are taken by `with` alone, so that a KeyboardInterrupt in the middle of a call leaves them free; a pool
    that hands instances out would lose one.

    Args:
        engines: One or more engines that give the same results.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = tuple(engines)
        self._locks = tuple(threading.Lock() for _ in self._engines)
        self._turn = itertools.count()
        self._closed = False

    def __len__(self) -> int:
        return len(self._engines)

    @property
    def give_log_odds(self) -> bool:
        """Whether `log_odds` can be asked for."""
        return all(isinstance(each, LogOddsEngine) and each.gives_log_odds for each in self._engines)

    def run(self, frames: NDArray[np.float32], *, log_odds: bool = False) -> NDArray[np.float32]:
        """As `Engine.run`, or as `LogOddsEngine.log_odds`. Raises EngineError also when this is closed."""
        own = next(self._turn) % len(self._engines)
        # Another thread may take the free one first; then this call waits for it, which costs time and nothing else.
        free = (at for at in range(own, own + len(self._engines)) if not self._locks[at % len(self)].locked())
        return self._run(next(free, own) % len(self), frames, log_odds)

    def run_each(self, frames: NDArray[np.float32]) -> None:
        """Run every instance once, to warm it up."""
        for at in range(len(self)):
            self._run(at, frames, False)

    def _run(self, at: int, frames: NDArray[np.float32], log_odds: bool) -> NDArray[np.float32]:
        with self._locks[at]:
            if self._closed:
                raise EngineError("the detector is closed; make a new one, or call it inside its `with`")
            engine = self._engines[at]
            if not log_odds:
                return engine.run(frames)
            if not isinstance(engine, LogOddsEngine):
                raise EngineError(
                    f"engine {engine.info.name!r} gives no log-odds, which this threshold needs; take an engine of "
                    "this package, all of which do, or a probability as threshold"
                )
            return engine.log_odds(frames)

    def close(self) -> None:
        """Close each engine after the call that runs on it. Twice is fine."""
        self._closed = True
        for lock, engine in zip(self._locks, self._engines, strict=True):
            with lock:
                engine.close()
