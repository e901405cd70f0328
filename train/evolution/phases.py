# SPDX-License-Identifier: Apache-2.0
"""When labels are updated and samples are mined, as shares of a run, so that a run of any length has all phases.

Sources: Yu et al., "PAL" (ICCV 2025), 400 epochs, and "Learning with Semantic Priors" (arXiv 2605.14346), 300 epochs.
"""

from __future__ import annotations

from dataclasses import dataclass

_FIRST_MISSES = 0.2


@dataclass(frozen=True)
class Phases:
    """The course of a run. Epochs are counted from 0; what is due happens before the epoch is trained.

    Attributes:
        epochs: Of the run.
        start: Share of the run that is trained with the easy frames alone, and their first masks.
        mine_until: Share of the run up to which frames are mined; afterwards labels are updated only.
        interval: Share of the run between two updates: 1/80 in PAL, 1/60 in semantic priors, both 5 epochs.
        upper_until: Share of the run after which no frames are held back for an upper level.
    """

    epochs: int
    start: float = 0.2
    mine_until: float = 0.8
    interval: float = 1 / 60
    upper_until: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.start <= self.mine_until <= 1.0 or not 0.0 < self.interval <= 1.0:
            raise ValueError(
                "phases are shares of the run with 0 <= start <= mine_until <= 1 and 0 < interval <= 1, got "
                f"{self.start}, {self.mine_until} and {self.interval}"
            )

    @property
    def every(self) -> int:
        """Epochs between two updates."""
        return max(1, round(self.interval * self.epochs))

    def is_interval(self, epoch: int) -> bool:
        """Whether an interval ends at an epoch, in any phase."""
        return epoch % self.every == 0

    def updates(self, epoch: int) -> bool:
        """Whether labels are updated before an epoch."""
        return epoch > self.start * self.epochs and self.is_interval(epoch)

    def mines(self, epoch: int) -> bool:
        """Whether frames are mined before an epoch, after the update."""
        return self.updates(epoch) and epoch <= self.mine_until * self.epochs

    def holds_back(self, epoch: int) -> bool:
        """Whether the frames of the upper level are still kept for it."""
        return epoch < self.upper_until * self.epochs

    def allowed_misses(self, epoch: int) -> float:
        """T_miss of an epoch: from 0.2 where mining begins to 1 where it ends."""
        span = (self.mine_until - self.start) * self.epochs
        along = (epoch - self.start * self.epochs + 1) / max(span, 1.0)
        return min(1.0, _FIRST_MISSES + (1.0 - _FIRST_MISSES) * along)
