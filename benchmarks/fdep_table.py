# SPDX-License-Identifier: Apache-2.0
"""Statistics over the seeds of ``fdep.py`` and its tables for docs/results.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markdown_table import markdown_table
from paired import LEVEL, difference, estimate

Run = dict[str, Any]
COLUMNS = {
    "iou": "IoU", "niou": "nIoU", "pd": "Pd", "fa_per_mpix": "Fa, px/Mpx", "f1": "F1", "hiou": "hIoU",
    "hse": "HSE (hse-v0)",
}  # fmt: skip
_NO_PERCENT = ("fa_per_mpix", "false_objects_per_frame")


def summarise(runs: Sequence[Run], *, base: str, metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Mean, interval and paired difference to the base over seeds: one row a model, condition, branch and set.

    Args:
        runs: One entry a run and branch: ``model``, ``condition``, ``branch``, ``seed`` and metrics by set in ``sets``.
        base: The condition that differences are taken to, its light branch.
        metrics: Keys of the metrics; one that some seed lacks is left out of the row.
    """
    groups: dict[tuple[str, str, str, str], dict[int, dict[str, Any]]] = {}
    for run in runs:
        for data, values in run["sets"].items():
            key = (run["model"], run["condition"], run["branch"], data)
            groups.setdefault(key, {})[run["seed"]] = values
    rows = []
    for (model, condition, branch, data), seeds in groups.items():
        row: dict[str, Any] = {"model": model, "condition": condition, "branch": branch, "set": data}
        row["seeds"] = sorted(seeds)
        reference = groups.get((model, base, "light", data), {})
        for metric in metrics:
            ours = _column(seeds, metric)
            if ours is None:
                continue
            theirs = _column(reference, metric) if condition != base else None
            row[metric] = {**estimate(list(ours.values())), "difference": difference(ours, theirs or {})}
        rows.append(row)
    return rows


def tables(result: dict[str, Any]) -> str:
    """The published tables in Markdown: means, paired differences, cost."""
    parts = [_means(result["summary"]), _differences(result["summary"])]
    if result.get("training_cost"):
        parts.append(_cost(result["training_cost"]))
    return "\n\n".join(part for part in parts if part)


def use(result: dict[str, Any]) -> str:
    """What the main branch loses with other features: one row for each training and set, paired over seeds."""
    groups: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in result["summary"]:
        groups.setdefault((row["condition"], row["set"]), {})[row["features"]] = row
    rows, others = [], []
    for (condition, data), found in groups.items():
        base, *others = found
        cells = [interval(found[name]["difference"], "iou") for name in others]
        rows.append(
            [
                condition,
                data,
                str(found[base]["iou"]["count"]),
                plus_minus(found[base]["iou"], "iou"),
                *cells,
            ]
        )
    head = ["run", "set", "seeds", "IoU, features as they are", *others]
    return (
        f"IoU of the main branch, and its change with other features, seed by seed, {LEVEL:.0%} t interval:\n\n"
        + markdown_table(head, rows)
    )


def _column(seeds: dict[int, dict[str, Any]], metric: str) -> dict[int, float] | None:
    values = {seed: found[metric] for seed, found in seeds.items()}
    return None if not values or any(v is None for v in values.values()) else values


def _means(summary: Sequence[dict[str, Any]]) -> str:
    rows = [[*labels(row), *(plus_minus(row.get(key), key) for key in COLUMNS)] for row in summary]
    return f"Mean and half of the {LEVEL:.0%} t interval over seeds:\n\n" + markdown_table(
        ["model", "condition", "branch", "set", "seeds", *COLUMNS.values()], rows
    )


def _differences(summary: Sequence[dict[str, Any]]) -> str:
    compared = [row for row in summary if row["iou"]["difference"]]
    if not compared:
        return ""
    rows = [
        [*labels(row), *(interval(row[key]["difference"], key) if key in row else "-" for key in COLUMNS)]
        for row in compared
    ]
    return f"Difference to supervised, seed by seed, with its {LEVEL:.0%} t interval:\n\n" + markdown_table(
        ["model", "condition", "branch", "set", "seeds", *COLUMNS.values()], rows
    )


def _cost(cost: Sequence[dict[str, Any]]) -> str:
    head = [
        "model",
        "condition",
        "trained parameters",
        "frozen parameters",
        "CPU ms a crop",
        "CPU s an epoch",
    ]
    rows = [
        [
            row["model"],
            row["condition"],
            f"{row['trained_parameters']:,}",
            f"{row['frozen_parameters']:,}",
            f"{row['cpu_ms_per_crop']:.1f}",
            f"{row['cpu_s_per_epoch']:.1f}",
        ]
        for row in cost
    ]
    deployed = {r["model"]: r["deployed"] for r in cost}
    kept = "; ".join(
        f"{model}: {d['parameters']:,} parameters and {d['gmac_256x256']:g} GMAC at 256x256 deployed"
        for model, d in deployed.items()
    )
    return (
        f"Cost of training, one thread; what is deployed is the same under every condition ({kept}):\n\n"
        + markdown_table(head, rows)
    )


def labels(row: dict[str, Any]) -> list[str]:
    return [row["model"], row["condition"], row["branch"], row["set"], str(len(row["seeds"]))]


def plus_minus(value: dict[str, Any] | None, key: str) -> str:
    if value is None:
        return "-"
    text = f"{_scaled(value['mean'], key):.1f}"
    half = None if value["high"] is None else _scaled(value["high"] - value["mean"], key)
    return text if half is None else f"{text} ± {half:.1f}"


def interval(value: dict[str, Any] | None, key: str) -> str:
    if value is None:
        return "-"
    mean = _signed(_scaled(value["mean"], key))
    if value["low"] is None:
        return mean
    return f"{mean} [{_signed(_scaled(value['low'], key))}, {_signed(_scaled(value['high'], key))}]"


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"  # adding 0 turns a rounded -0.0 into 0.0


def _scaled(value: float, key: str) -> float:
    return value if key in _NO_PERCENT else 100 * value
