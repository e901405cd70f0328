# SPDX-License-Identifier: Apache-2.0
"""Tables of ``points.py`` for docs/points-results.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markdown_table import markdown_table
from over_seeds import COLUMNS, interval, labels, plus_minus
from paired import LEVEL

_BRANCHES = {"light": "student", "main": "teacher"}
_SHOWN = ("iou", "niou", "pd", "fa_per_mpix", "hse")
_PARTS = ("iou", "niou", "pd", "fa_per_mpix")
_TABLE = ["model", "recipe", "branch", "set", "seeds"]


def markdown(result: dict[str, Any]) -> str:
    """Means beside full supervision, what leaving a part out changes, targets by class, and what a run costs."""
    parts = [_means(result), _variants(result), _differences(result["parts"]), _classes(result["runs"])]
    return "\n\n".join(part for part in [*parts, _cost(result["runs"])] if part)


def _is_variant(row: dict[str, Any]) -> bool:
    """Whether a recipe had other settings than its defaults: ``recipe+setting=value``."""
    return "+" in row["condition"]


def _means(result: dict[str, Any]) -> str:
    whole = [row for row in result["summary"] if not _is_variant(row)]
    return f"Mean and half of the {LEVEL:.0%} t interval over seeds:\n\n" + _mean_table(result, whole)


def _variants(result: dict[str, Any]) -> str:
    students = [row for row in result["summary"] if _is_variant(row) and row["branch"] == "light"]
    if not students:
        return ""
    return (
        "The same with other settings, `+setting=value` (students; their teachers are in the result file):\n\n"
        + _mean_table(result, students)
    )


def _mean_table(result: dict[str, Any], summary: Sequence[dict[str, Any]]) -> str:
    late = {(r["model"], r["condition"], r["set"]): r["iou"]["mean"] for r in result["late_deviation"]}
    full = {
        (r["model"], r["set"]): r["iou"]["mean"] for r in result["summary"] if r["condition"] == "supervised"
    }
    rows = []
    for row in summary:
        base = full.get((row["model"], row["set"]))
        share = "-" if base is None else f"{100 * row['iou']['mean'] / base:.0f} %"
        deviation = late.get((row["model"], row["condition"], row["set"]))
        shown = "-" if deviation is None or row["branch"] != "light" else f"{100 * deviation:.2f}"
        rows.append([*_named(row), *(plus_minus(row.get(key), key) for key in _SHOWN), share, shown])
    head = [*_TABLE, *(COLUMNS[key] for key in _SHOWN), "of supervised IoU", "late deviation of IoU"]
    return markdown_table(head, rows)


def _differences(summary: Sequence[dict[str, Any]]) -> str:
    """Of every student, and of the teachers of the recipes as they are."""
    compared = [
        row
        for row in summary
        if row["iou"]["difference"] and (row["branch"] == "light" or not _is_variant(row))
    ]
    if not compared:
        return ""
    rows = [[*_named(row), *(interval(row[key]["difference"], key) for key in _PARTS)] for row in compared]
    return (
        f"Difference to the student of `semantic_priors`, seed by seed, with its {LEVEL:.0%} t interval:\n\n"
        + markdown_table([*_TABLE, *(COLUMNS[key] for key in _PARTS)], rows)
    )


def _classes(runs: Sequence[dict[str, Any]]) -> str:
    """Pd and mean IoU of found targets by class, over both sets and all seeds together, of the recipes as they are."""
    counts: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    targets: dict[str, int] = {}
    for run in (run for run in runs if not _is_variant(run)):
        group = counts.setdefault((run["model"], run["condition"], run["branch"]), {})
        of_run: dict[str, int] = {}
        for values in run["sets"].values():
            for name, found in values.get("classes", {}).items():
                total = group.setdefault(name, [0, 0, 0.0])
                total[0] += found["targets"]
                total[1] += found["found"]
                total[2] += found["found"] * (found["iou"] or 0.0)
                of_run[name] = of_run.get(name, 0) + found["targets"]
        targets.update(of_run)
    if not targets:
        return ""
    rows = []
    for (model, condition, branch), group in counts.items():
        cells = [_found(*group[name]) if name in group else "-" for name in targets]
        rows.append([model, condition, _branch(condition, branch), *cells])
    head = ["model", "recipe", "branch", *(f"{name} ({n} targets)" for name, n in targets.items())]
    return (
        "Pd / mean IoU of the found targets by [class](metrics.md), in percent, over all sets and the recipe's "
        "seeds (the targets of one seed in brackets):\n\n" + markdown_table(head, rows)
    )


def _found(targets: float, found: float, overlap: float) -> str:
    return f"{100 * found / max(targets, 1):.0f} / {100 * overlap / max(found, 1):.0f}"


def _cost(runs: Sequence[dict[str, Any]]) -> str:
    spent: dict[tuple[str, str], dict[int, float]] = {}
    labelled: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for run in runs:
        key = (run["model"], run["condition"])
        if "cpu_s" in run:
            spent.setdefault(key, {})[run["seed"]] = run["cpu_s"]
        if "labels" in run and run["branch"] == "light":
            labelled.setdefault(key, []).append(run["labels"])
    rows = []
    for key in dict.fromkeys((*spent, *labelled)):
        seconds, states = list(spent.get(key, {}).values()), labelled.get(key, [])
        rows.append(
            [
                *key,
                f"{min(seconds) / 60:.1f}" if seconds else "-",
                *(_labels_at(states, when) for when in ("first", "last")),
            ]
        )
    return (
        "Processor time of a whole run on one thread, validation after every epoch included (the shortest of the "
        "seeds), and, as a diagnosis, the labels of the frames in use against the masks (mean over seeds):\n\n"
        + markdown_table(
            ["model", "recipe", "CPU minutes", "IoU of labels (frames), first epoch", "last epoch"], rows
        )
    )


def _labels_at(states: Sequence[dict[str, Any]], when: str) -> str:
    if not states:
        return "-"
    iou = sum(state[when]["iou"] for state in states) / len(states)
    frames = sum(state[when]["frames"] for state in states) / len(states)
    return f"{100 * iou:.1f} ({frames:.0f})"


def _named(row: dict[str, Any]) -> list[str]:
    model, condition, branch, data, seeds = labels(row)
    return [model, condition, _branch(condition, branch), data, seeds]


def _branch(condition: str, branch: str) -> str:
    return _BRANCHES[branch] if condition != "supervised" else "-"
