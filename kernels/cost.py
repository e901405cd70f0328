# SPDX-License-Identifier: Apache-2.0
"""What one launch cannot do without: bytes to and from memory, and arithmetic.

Each operation's ``cost.py`` counts its own launch from the shapes. The counts are those of the definition: every
input is read once and every output written once, whatever an implementation reads twice or computes twice. So they
give a floor of the time, never an estimate of it. Needs neither NumPy nor torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """Traffic and arithmetic of one launch, or of several.

    Attributes:
        bytes_read: Bytes that have to come from memory, weights included.
        bytes_written: Bytes that have to go to memory.
        operations: Multiplications and additions; a multiply-add counts as two. Comparisons and the index
            arithmetic are not counted.
    """

    bytes_read: int = 0
    bytes_written: int = 0
    operations: int = 0

    def __post_init__(self) -> None:
        if min(self.bytes_read, self.bytes_written, self.operations) < 0:
            raise ValueError(f"a cost cannot be negative, got {self}")

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
            self.operations + other.operations,
        )

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written

    @property
    def intensity(self) -> float:
        """Operations per byte: below a device's ratio of rate to bandwidth, memory is the bound."""
        return self.operations / self.bytes_moved if self.bytes_moved else 0.0

    def floor_ms(self, *, gigabytes_per_s: float, gigaoperations_per_s: float) -> float:
        """The time in ms that no implementation can go below: memory and arithmetic, whichever takes longer.

        Args:
            gigabytes_per_s: Memory bandwidth, in 10^9 bytes a second.
            gigaoperations_per_s: Rate of the units that do the arithmetic, in 10^9 operations a second.

        Raises:
            ValueError: A rate is not positive.
        """
        if gigabytes_per_s <= 0 or gigaoperations_per_s <= 0:
            raise ValueError(
                "a floor needs a positive bandwidth and rate, got "
                f"{gigabytes_per_s} GB/s and {gigaoperations_per_s} Gop/s"
            )
        return max(self.bytes_moved / gigabytes_per_s, self.operations / gigaoperations_per_s) / 1e6


def total(costs: Iterable[Cost]) -> Cost:
    """The sum over launches. Its floor is below the sum of their floors, since launches run one after another."""
    return sum(costs, Cost())
