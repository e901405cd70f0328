# SPDX-License-Identifier: Apache-2.0
"""What the processes of a run do together beside the gradients: share work, and have one value everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from lightning_fabric import Fabric
from lightning_fabric.utilities.rank_zero import rank_zero_only
from torch import nn

Item = TypeVar("Item")
Value = TypeVar("Value")


def speaks_for_all() -> bool:
    """Whether this process is the first of its run, as far as its launcher told; also before Fabric has started."""
    return not getattr(rank_zero_only, "rank", 0)


class Processes:
    """The processes of a run, which all call the same methods in the same order.

    What fails in one of them is raised in all, so that none waits for another that is gone.

    Args:
        fabric: Launched; None, or one process: nothing is exchanged.
    """

    def __init__(self, fabric: Fabric | None = None) -> None:
        self._fabric = fabric
        self.rank = fabric.global_rank if fabric else 0
        self.count = fabric.world_size if fabric else 1

    @property
    def is_first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def map(self, work: Callable[[Item], Value], items: Sequence[Item]) -> list[Value]:
        """``work`` of each item, in their order; process r of n takes the items r, r + n, r + 2n and so on."""
        own = self._caught(lambda: [work(item) for item in items[self.rank :: self.count]])
        shares = [self._from(source, own) for source in range(self.count)]
        return [shares[index % self.count][index // self.count] for index in range(len(items))]

    def of_first(self, compute: Callable[[], Value]) -> Value:
        """What ``compute`` gives in the first process, which alone calls it."""
        return self._from(0, self._caught(compute) if self.is_first else None)

    def take_over(self, module: nn.Module) -> None:
        """Give a module everywhere the state that it has in the first process, running statistics included."""
        if self.count > 1:
            state = self.of_first(lambda: {k: v.cpu() for k, v in module.state_dict().items()})
            module.load_state_dict(state)

    def _caught(self, compute: Callable[[], Value]) -> Value | Exception:
        try:
            return compute()
        except Exception as error:
            if self.count == 1:
                raise
            return error

    def _from(self, source: int, outcome: Value | Exception | None) -> Value:
        if self._fabric is not None and self.count > 1:
            outcome = self._fabric.broadcast(outcome, src=source)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome  # type: ignore[return-value]
