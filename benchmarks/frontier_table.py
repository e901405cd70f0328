# SPDX-License-Identifier: Apache-2.0
"""Statistics over the seeds of ``frontier.py`` and its table for the pages."""

from __future__ import annotations

from typing import Any

from paired import difference, estimate

BASE = "base"


def summarise(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line for each variant: mean over seeds, and the paired difference from the base."""
    lines = []
    for name in dict.fromkeys(row["variant"] for row in rows):
        own = [row for row in rows if row["variant"] == name]
        line: dict[str, Any] = {"variant": name, "gmac_256x256": own[0]["gmac_256x256"]}
        for data in own[0]["metrics"]:
            for key in ("iou", "niou", "pd"):
                values = {row["seed"]: row["metrics"][data][key] for row in own}
                base = {row["seed"]: row["metrics"][data][key] for row in rows if row["variant"] == BASE}
                line[f"{data} {key}"] = estimate(list(values.values()))
                line[f"{data} {key} against base"] = difference(values, base)
        lines.append(line)
    return lines


def markdown(result: dict[str, Any]) -> str:
    """The table for the pages: mean over seeds and, in brackets, the paired difference with its 95 % interval."""
    lines = result["table"]
    columns = [key for key in lines[0] if f"{key} against base" in lines[0]]
    text = [
        f"| variant | seeds | GMAC | {' | '.join(columns)} |",
        f"|{' --- |' * (3 + len(columns))}",
    ]
    for line in lines:
        cells = [_cell(line[key], line[f"{key} against base"], line["variant"]) for key in columns]
        count = line[columns[0]]["count"]
        text.append(f"| {line['variant']} | {count} | {line['gmac_256x256']:.2f} | {' | '.join(cells)} |")
    return "\n".join(text)


def _cell(value: dict[str, Any], against: dict[str, Any] | None, variant: str) -> str:
    mean = f"{100 * value['mean']:.1f}"
    if variant == BASE or against is None:
        return mean
    if against["low"] is None:
        return f"{mean} ({100 * against['mean']:+.1f})"
    return f"{mean} ({100 * against['low']:+.1f} to {100 * against['high']:+.1f})"
