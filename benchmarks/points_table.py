# SPDX-License-Identifier: Apache-2.0
"""Tables of ``points.py`` for docs/points.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fdep_table import COLUMNS, interval, labels, plus_minus
from fdep_table import markdown as lines
from paired import LEVEL

_BRANCHES = {"light": "student", "main": "teacher"}
_SHOWN = ("iou", "niou", "pd", "fa_per_mpix", "hse")
_PARTS = ("iou", "niou", "pd", "fa_per_mpix")


def markdown(result: dict[str, Any]) -> str:
    """Means beside full supervision, what leaving a part out changes, targets by class, and what a run costs."""
    parts = [_means(result), _parts(result["parts"]), _classes(result["runs"]), _cost(result["runs"])]
    return "\n\n".join(part for part in parts if part)


def _means(result: dict[str, Any]) -> str:
    late = {(r["model"], r["condition"], r["set"]): r["iou"]["mean"] for r in result["late_deviation"]}
    full = {
        (r["model"], r["set"]): r["iou"]["mean"] for r in result["summary"] if r["condition"] == "supervised"
    }
    rows = []
    for row in result["summary"]:
        base = full.get((row["model"], row["set"]))
        share = "-" if base is None else f"{100 * row['iou']['mean'] / base:.0f} %"
        deviation = late.get((row["model"], row["condition"], row["set"]))
        shown = "-" if deviation is None or row["branch"] != "light" else f"{100 * deviation:.2f}"
        rows.append([*_named(row), *(plus_minus(row.get(key), key) for key in _SHOWN), share, shown])
    head = ["model", "recipe", "branch", "set", "seeds", *(COLUMNS[key] for key in _SHOWN)]
    return f"Mean and half of the {LEVEL:.0%} t interval over seeds:\n\n" + lines(
        [*head, "of supervised IoU", "late deviation of IoU"], rows
    )


def _parts(summary: Sequence[dict[str, Any]]) -> str:
    compared = [row for row in summary if row["iou"]["difference"]]
    if not compared:
        return ""
    rows = [[*_named(row), *(interval(row[key]["difference"], key) for key in _PARTS)] for row in compared]
    head = ["model", "recipe", "branch", "set", "seeds", *(COLUMNS[key] for key in _PARTS)]
    return (
        f"Difference to the student of `semantic_priors`, seed by seed, with its {LEVEL:.0%} t interval:\n\n"
        + lines(head, rows)
    )


def _classes(runs: Sequence[dict[str, Any]]) -> str:
    """Pd and mean IoU of found targets by class, over both sets and all seeds together."""
    counts: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for run in runs:
        group = counts.setdefault((run["model"], run["condition"], run["branch"]), {})
        for values in run["sets"].values():
            for name, found in values.get("classes", {}).items():
                total = group.setdefault(name, [0, 0, 0.0])
                total[0] += found["targets"]
                total[1] += found["found"]
                total[2] += found["found"] * (found["iou"] or 0.0)
    if not any(counts.values()):
        return ""
    names = list(next(iter(counts.values())))
    rows = []
    for key, group in counts.items():
        row = {"model": key[0], "condition": key[1], "branch": key[2], "set": "", "seeds": []}
        cells = [
            f"{100 * n / max(all_, 1):.0f} / {100 * iou / max(n, 1):.0f}" for all_, n, iou in group.values()
        ]
        rows.append([*_named(row)[:3], *cells])
    first = runs[0]["sets"].values()
    targets = [sum(values["classes"][name]["targets"] for values in first) for name in names]
    head = [f"{name} ({n} targets)" for name, n in zip(names, targets, strict=True)]
    return (
        "Pd / mean IoU of the found targets by [class](metrics.md), in percent, over all sets and the recipe's "
        "seeds (the targets of one seed in brackets):\n\n" + lines(["model", "recipe", "branch", *head], rows)
    )


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
        + lines(["model", "recipe", "CPU minutes", "IoU of labels (frames), first epoch", "last epoch"], rows)
    )


def _labels_at(states: Sequence[dict[str, Any]], when: str) -> str:
    if not states:
        return "-"
    iou = sum(state[when]["iou"] for state in states) / len(states)
    frames = sum(state[when]["frames"] for state in states) / len(states)
    return f"{100 * iou:.1f} ({frames:.0f})"


def _named(row: dict[str, Any]) -> list[str]:
    model, condition, branch, data, seeds = labels(row)
    return [model, condition, _BRANCHES[branch] if row["condition"] != "supervised" else "-", data, seeds]
