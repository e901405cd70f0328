# SPDX-License-Identifier: Apache-2.0
"""What a search of settings found, with every run that it made and what its numbers can say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

_BEYOND = 2.0


@dataclass(frozen=True)
class Outcome:
    """One run: its folder, seed, settings that differ from the defaults, and score (None: it could not be trained)."""

    name: str
    seed: int
    settings: dict[str, Any]
    score: float | None


@dataclass(frozen=True)
class Searched:
    """A finished search.

    Attributes:
        epochs: Of each run.
        outcomes: Every run in the order in which it was made.
        best: Settings of the best trial; None where none could be trained.
        defaults: Scores of the default settings, a seed each; the first is the seed of the search.
        again: Scores of ``best`` with the other seeds, in the same order.
    """

    epochs: int
    outcomes: tuple[Outcome, ...]
    best: dict[str, Any] | None
    defaults: tuple[float, ...]
    again: tuple[float, ...]

    @property
    def spread(self) -> float:
        """Standard deviation of the default settings between seeds."""
        return float(np.std(self.defaults, ddof=1))

    @property
    def gain(self) -> float | None:
        """Mean of ``best`` less that of the defaults over the seeds that the search did not see."""
        return float(np.mean(self.again) - np.mean(self.defaults[1:])) if self.again else None

    @property
    def noise(self) -> float:
        """Gain up to which the two are called alike: twice the deviation of a difference of such means."""
        return _BEYOND * self.spread * float(np.sqrt(2.0 / max(len(self.defaults) - 1, 1)))

    @property
    def is_better(self) -> bool:
        """Whether the gain is beyond the noise."""
        return self.gain is not None and self.gain > self.noise

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "runs": [asdict(each) for each in self.outcomes],
            "best": self.best,
            "spread": self.spread,
            "gain": self.gain,
            "noise": self.noise,
            "better": self.is_better,
        }


def write_markdown(found: Searched, chosen: str) -> str:
    """The report.

    Args:
        found: The search.
        chosen: Name of the file with the settings to train with.
    """
    seeds = len(found.defaults)
    lines = [
        "# Search of the reweighting settings",
        "",
        f"{len(found.outcomes)} runs of {found.epochs} epochs were made, all listed here. Score: mean over the val "
        "splits of (IoU + Pd) / 2 after the last epoch, in percent.",
        "",
        f"**{_verdict(found)}**",
        "",
        f"- Default settings: {_percent(np.mean(found.defaults))} on average over {seeds} seeds, standard deviation "
        f"{_percent(found.spread)}, which is itself an estimate from {seeds} runs.",
    ]
    if found.gain is not None:
        lines += [
            f"- Best trial: `{_options(found.best or {})}`.",
            f"- Run again with the {len(found.again)} seeds that the search did not see, it is {_signed(found.gain)} "
            f"from the defaults with the same seeds. Up to {_percent(found.noise)} counts as noise: twice the "
            "deviation of a difference of two such means.",
            "- The score of the best trial itself says nothing: the best of several runs is ahead by chance.",
        ]
    lines += [
        "- The settings were chosen on the val splits, so their numbers on them are optimistic, those of the seeds "
        "that were not seen too. Judge a final run on data that no choice has touched.",
        "- Short runs were compared; a long run may rank settings otherwise.",
        "",
        "| run | seed | settings | score |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {each.name} | {each.seed} | {_options(each.settings) or 'default'} | "
        f"{'not finite' if each.score is None else _percent(each.score)} |"
        for each in found.outcomes
    ]
    lines += ["", f"`pitviper-train semantic_priors --config {chosen} ...` trains with what was chosen.", ""]
    return "\n".join(lines)


def _verdict(found: Searched) -> str:
    if found.best is None:
        return "No trial could be trained; the default settings stay."
    if found.is_better:
        return f"Better than the default settings beyond the noise of the seeds: {_options(found.best)}."
    return (
        "Within noise: nothing was better than the default settings by more than seeds differ, so they stay."
    )


def _options(settings: dict[str, Any]) -> str:
    words = []
    for name, value in settings.items():
        words += [f"--{name.replace('_', '-')}", f"{value:.3g}" if isinstance(value, float) else str(value)]
    return " ".join(words)


def _percent(value: float | np.floating[Any]) -> str:
    return f"{100 * value:.2f}"


def _signed(value: float) -> str:
    return f"{100 * value:+.2f}"
