# SPDX-License-Identifier: Apache-2.0
"""What processes do together: shares in order, one value everywhere, and no process that waits for one that failed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from pitviper.train.processes import Processes

COUNT = 3


class Exchange:
    """Broadcasts between threads, as Fabric's between processes."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(COUNT, timeout=20)
        self.value: Any = None


class OneOf:
    """As much of a Fabric as is asked for."""

    world_size = COUNT

    def __init__(self, rank: int, exchange: Exchange) -> None:
        self.global_rank = rank
        self.exchange = exchange

    def broadcast(self, value: Any, src: int) -> Any:
        if self.global_rank == src:
            self.exchange.value = value
        self.exchange.barrier.wait()
        found = self.exchange.value
        self.exchange.barrier.wait()
        return found


def in_each(act: Callable[[Processes], Any]) -> list[Any]:
    """What ``act`` gives in each of three processes, or the text of what it raises."""
    exchange = Exchange()

    def run(rank: int) -> Any:
        try:
            return act(Processes(cast(Fabric, OneOf(rank, exchange))))
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(COUNT) as pool:
        return list(pool.map(run, range(COUNT)))


@pytest.mark.parametrize("length", [0, 1, 2, 3, 7])
def test_items_are_shared_and_come_back_in_order(length: int) -> None:
    worked: list[int] = []

    def square(item: int) -> int:
        worked.append(item)
        return item * item

    squares = [item * item for item in range(length)]
    assert in_each(lambda processes: processes.map(square, range(length))) == [squares] * COUNT
    assert sorted(worked) == list(range(length)), "each item is worked on once"
    assert Processes().map(square, range(length)) == squares


def test_the_first_decides() -> None:
    asked: list[int] = []

    def decide(processes: Processes) -> str:
        return processes.of_first(lambda: asked.append(processes.rank) or "decided")

    assert in_each(decide) == ["decided"] * COUNT
    assert asked == [0]


def test_what_fails_in_one_is_raised_in_all() -> None:
    def fragile(item: int) -> int:
        if item == 4:
            raise ValueError("item 4 is broken")
        return item

    assert in_each(lambda processes: processes.map(fragile, range(7))) == ["item 4 is broken"] * COUNT
    assert in_each(lambda processes: processes.of_first(lambda: fragile(4))) == ["item 4 is broken"] * COUNT
    with pytest.raises(ValueError, match="item 4"):
        Processes().map(fragile, range(7))


def test_a_module_takes_over_weights_and_statistics() -> None:
    modules = [nn.BatchNorm1d(2) for _ in range(COUNT)]
    for rank, module in enumerate(modules):
        nn.init.constant_(module.weight, rank + 1.0)
        module.running_mean = torch.full((2,), rank + 5.0)
    in_each(lambda processes: processes.take_over(modules[processes.rank]))
    assert all(bool((module.weight == 1.0).all()) for module in modules)
    assert all(
        bool((module.running_mean == 5.0).all()) for module in modules if module.running_mean is not None
    )
