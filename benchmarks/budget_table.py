# SPDX-License-Identifier: Apache-2.0
"""The table of ``budget.py`` for the pages."""

from __future__ import annotations

from typing import Any

from markdown_table import markdown_table

_HEAD = (
    "model",
    "empty scenes",
    "budget",
    "achieved on other scenes",
    "targets found",
    "random halves: achieved",
    "above the budget (by theory)",
    "refused, by probability instead",
)


def markdown(result: dict[str, Any]) -> str:
    """One line for each model, set and budget on log-odds; the last column says what probabilities would do."""
    lines, notes = [], []
    for model, sets in result["models"].items():
        for name, found in sets.items():
            seen = " (seen in training)" if found.get("seen_in_training") else ""
            notes.append(
                f"{model} on {found['frames']} {name}: {100 * found['rate_at_0.5']:.0f} % with an alarm at 0.5, "
                f"{found['probability_is_1']} with a probability of 1"
            )
            rows = found["budgets"]
            for fine in (row for row in rows if row["scale"] == "log-odds"):
                coarse = next(
                    row
                    for row in rows
                    if row["scale"] != "log-odds" and row["per_frame"] == fine["per_frame"]
                )
                lines.append([model, name + seen, *_cells(fine, coarse, result["splits"])])
    return f"{markdown_table(_HEAD, lines)}\n\nFrames: {'; '.join(notes)}."


def _cells(fine: dict[str, Any], coarse: dict[str, Any], splits: int) -> list[str]:
    halves = fine["random_halves"]
    mean = halves["mean_rate"]
    above = f"{100 * halves['share_above']:.1f} % ({100 * halves['share_above_by_theory']:.1f} %)"
    refused = coarse["random_halves"]["refused"]
    return [
        f"{fine['per_frame']:g}",
        _shares(fine["rates"]),
        _shares(fine["targets_found"]),
        "refused" if mean is None else f"{mean:.3f}",
        "-" if mean is None else above,
        f"{100 * refused / splits:.0f} %",
    ]


def _shares(values: list[float | None] | None) -> str:
    """The lowest and the highest of the parts that were not refused."""
    known = sorted(value for value in values or () if value is not None)
    if not known:
        return "-" if values is None else "refused"
    shown = dict.fromkeys(f"{value:.2f}" for value in (known[0], known[-1]))
    refused = len(values or ()) - len(known)
    return " to ".join(shown) + (f" ({refused} refused)" if refused else "")
