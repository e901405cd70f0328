# SPDX-License-Identifier: Apache-2.0
"""The report of an adaptation: ``report.html`` for people, ``report.json`` for programs."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pitviper.core.atomic import write_whole
from pitviper.core.report.page import html_facts, html_image, html_page, html_table
from pitviper.train.adaptation.judge import Score
from pitviper.train.adaptation.verdict import Verdict

PAGE = "report.html"
NUMBERS = "report.json"
SCHEMA = "pitviper.adaptation/1"


@dataclass(frozen=True)
class Told:
    """What a report tells beside the verdict.

    Attributes:
        facts: By name, for people.
        numbers: Plain values, for programs.
        pictures: PNG by heading.
    """

    facts: Mapping[str, str]
    numbers: Mapping[str, Any]
    pictures: Mapping[str, bytes]


def write_adaptation_report(folder: Path, verdict: Verdict, told: Told) -> Path:
    """Write both files and return the page; the JSON comes last, so that a folder that holds it has both.

    Raises:
        OSError: They cannot be written.
    """
    outcome = "adapted" if verdict.accepted else "refused"
    page = html_page(f"Adaptation: {outcome}", _parts(outcome, verdict, told))
    numbers = {
        "schema": SCHEMA,
        "accepted": verdict.accepted,
        "reasons": list(verdict.reasons),
        "before": verdict.before.to_dict(),
        "after": verdict.after.to_dict(),
        "lost_by_chance": verdict.lost_by_chance,
        "alarms_by_chance": verdict.alarms_by_chance,
        "guards": {name: {"before": a, "after": b} for name, (a, b) in verdict.guards.items()},
        **told.numbers,
    }
    write_whole(folder / PAGE, page.encode())
    write_whole(folder / NUMBERS, f"{json.dumps(numbers, indent=1, allow_nan=False)}\n".encode())
    return folder / PAGE


def summary_lines(verdict: Verdict) -> list[str]:
    """The numbers in lines of text, for the terminal."""
    old, new = verdict.before, verdict.after
    return [
        f"held-out clicks: {old.found} of {old.points} found before, {new.found} after",
        f"false objects in {old.frames} held-out frames: {old.false_objects} before, {new.false_objects} after",
        *(
            f"{name}, (IoU + Pd) / 2: {100 * before:.1f} % before, {100 * after:.1f} % after"
            for name, (before, after) in verdict.guards.items()
        ),
    ]


def _parts(outcome: str, verdict: Verdict, told: Told) -> list[str]:
    old, new = verdict.before, verdict.after
    rows = [
        ["On the held-out clicks", "", "before", "after", "chance alone makes it so much worse"],
        ["Points found", "%", _found(old), _found(new), f"p = {verdict.lost_by_chance:.2g}"],
        [
            "False objects",
            "/frame",
            f"{old.false_objects_per_frame:.2f}",
            f"{new.false_objects_per_frame:.2f}",
            f"p = {verdict.alarms_by_chance:.2g}",
        ],
    ]
    guards = [["Guards", "", "before", "after"]] + [
        [name, "(IoU + Pd) / 2, %", _percent(a), _percent(b)] for name, (a, b) in verdict.guards.items()
    ]
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in verdict.reasons)
    parts = [
        f"<h1>Adaptation: {outcome}</h1>",
        f"<p>The package before stays as it is.</p><ul>{reasons}</ul>" if reasons else "",
        html_facts(told.facts),
        f'<div class="wide">{html_table(rows, "metrics")}</div>',
        f'<div class="wide">{html_table(guards, "metrics")}</div>' if verdict.guards else "",
    ]
    for heading, picture in told.pictures.items():
        parts += [f"<h2>{html.escape(heading)}</h2>", html_image(picture, heading)]
    return parts


def _found(judged: Score) -> str:
    return f"{_percent(judged.pd)} ({judged.found} of {judged.points})"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
