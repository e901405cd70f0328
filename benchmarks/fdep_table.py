# SPDX-License-Identifier: Apache-2.0
"""Tables of ``fdep.py``, ``fdep_use.py``, ``prior_probe.py`` and ``frontier.py`` for docs/results.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markdown_table import markdown_table
from over_seeds import COLUMNS, interval, labels, plus_minus
from paired import LEVEL


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


def probe(result: dict[str, Any]) -> str:
    """What the features of each model tell of targets, and those of random weights in its architecture."""
    rows: list[list[str]] = []
    drawn: dict[tuple[str, int], list[dict[str, float]]] = {}
    for row in result["models"]:
        key, found = (row["weights"], row["scale"]), row["levels"]["all"]
        if row["seed"] is not None:
            drawn.setdefault(key, []).append(found)
            continue
        rows.append(
            [
                row["weights"],
                str(row["scale"]),
                str(row["patch"]),
                f"{found['targets']:,} of {found['patches']:,}",
                *(
                    f"{found[name]:.3f} ({_mean(drawn[key], name):.3f})"
                    for name in ("auc", "average_precision")
                ),
            ]
        )
    head = [
        "weights",
        "frames enlarged",
        "patch, px",
        "target patches",
        "AUC (random)",
        "average precision (random)",
    ]
    return markdown_table(head, rows)


def _mean(scores: Sequence[dict[str, float]], name: str) -> float:
    return sum(score[name] for score in scores) / len(scores)


def _means(summary: Sequence[dict[str, Any]]) -> str:
    rows = [[*labels(row), *(plus_minus(row.get(key), key) for key in COLUMNS)] for row in summary]
    return f"Mean and half of the {LEVEL:.0%} t interval over seeds:\n\n" + markdown_table(
        ["model", "condition", "branch", "set", "seeds", *COLUMNS.values()], rows
    )


def _differences(summary: Sequence[dict[str, Any]]) -> str:
    compared = [row for row in summary if row["fa_per_mpix"]["difference"]]
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
