# SPDX-License-Identifier: Apache-2.0
"""Whether adapted weights may take the place of the old ones, and if not, why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pitviper.train.adaptation.judge import Judged, Score, by_chance, total
from pitviper.train.validate import Metrics, selection_score

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Verdict:
    """What became of an adaptation.

    Attributes:
        reasons: Why it is refused; empty when it is not.
        before: Old weights on the frames that judge.
        after: New weights on them.
        lost_by_chance: Probability that chance alone loses so many points, in [0, 1].
        alarms_by_chance: Probability that chance alone adds so many false objects.
        guards: (IoU + Pd) / 2 before and after, by guarding set.
    """

    reasons: tuple[str, ...]
    before: Score
    after: Score
    lost_by_chance: float
    alarms_by_chance: float
    guards: dict[str, tuple[float, float]]

    @property
    def accepted(self) -> bool:
        """Whether the new weights are kept."""
        return not self.reasons


def decide(
    before: Mapping[str, Judged],
    after: Mapping[str, Judged],
    guard_before: Metrics,
    guard_after: Metrics,
    *,
    tolerance: float,
    chance: float,
) -> Verdict:
    """Refuse weights that are worse on the frames that judge or on a guarding set, or better nowhere.

    Neither the points found nor the false objects may be worse beyond chance. One of them must be better; where the
    other is worse within chance, better beyond chance.

    Args:
        before: Frames that judge, with the old weights.
        after: The same with the new ones.
        guard_before: Metrics of the guarding sets.
        guard_after: The same with the new weights.
        tolerance: How far (IoU + Pd) / 2 of a guarding set may fall.
        chance: Largest probability of a change that is taken for more than chance.
    """
    lost = np.array([int(before[n].found.sum()) - int(after[n].found.sum()) for n in before], np.int64)
    added = np.array([after[n].false_count - before[n].false_count for n in before], np.int64)
    old, new = total(before), total(after)
    guards = {
        name: (selection_score({name: guard_before[name]}), selection_score({name: guard_after[name]}))
        for name in guard_before
    }
    reasons = _on_stream(lost, added, old, new, chance) + [
        f"{name}: (IoU + Pd) / 2 fell from {100 * a:.1f} to {100 * b:.1f} %, by more than {100 * tolerance:g}: what "
        "the package knew is forgotten; give its data with --data, or lower --lr or --steps"
        for name, (a, b) in guards.items()
        if a - b > tolerance
    ]
    return Verdict(tuple(reasons), old, new, by_chance(lost), by_chance(added), guards)


def _on_stream(lost: Counts, added: Counts, old: Score, new: Score, chance: float) -> list[str]:
    reasons = []
    points = f"{old.found} of {old.points} held-out points were found before, {new.found} after"
    alarms = (
        f"{old.false_objects} false objects in {old.frames} held-out frames before, {new.false_objects} after"
    )
    if by_chance(lost) <= chance:
        reasons.append(f"{points}: more are lost than chance explains")
    if by_chance(added) <= chance:
        reasons.append(f"{alarms}: more are added than chance explains")
    if reasons:
        return reasons
    fewer_points, more_alarms = int(lost.sum()) > 0, int(added.sum()) > 0
    if not int(lost.sum()) < 0 and not int(added.sum()) < 0:
        return [f"nothing got better on the held-out frames ({points}; {alarms})"]
    if fewer_points and by_chance(-added) > chance:
        return [f"{points}, and that there are fewer false objects may be chance ({alarms})"]
    if more_alarms and by_chance(-lost) > chance:
        return [f"{alarms}, and that more points are found may be chance ({points})"]
    return []
