# SPDX-License-Identifier: Apache-2.0
"""The table of metrics: rows are metrics, columns are evaluated sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pitviper.core.evaluation import Evaluation
from pitviper.core.metrics import CLASSES

Style = Literal["text", "markdown"]


@dataclass(frozen=True)
class Line:
    """One metric of the table: how it is called, its field in `MetricsResult`, and its unit."""

    label: str
    field: str
    unit: str = "%"


LINES = (
    Line("IoU", "iou"),
    Line("nIoU", "niou"),
    Line("Pd", "pd"),
    Line("Fa", "fa_per_mpix", "px/Mpx"),
    Line("False objects", "false_objects_per_frame", "/frame"),
    Line("Precision", "precision"),
    Line("Recall", "recall"),
    Line("F1", "f1"),
    Line("Target precision", "target_precision"),
    Line("Target F1", "target_f1"),
    Line("hIoU", "hiou"),
    Line("AUC", "auc"),
    Line("AP", "ap"),
    Line("Pd at Fa < 1 px/Mpx", "pd_at_fa_1"),
    Line("Pd at Fa < 10 px/Mpx", "pd_at_fa_10"),
    Line("Pd at Fa < 100 px/Mpx", "pd_at_fa_100"),
    Line("HSE", "hse"),
    Line("HSE, pixels", "hse_pix"),
    Line("HSE, targets", "hse_tgt"),
)
COUNTS = ("images", "targets", "found", "predicted")


def table_rows(evaluations: Mapping[str, Evaluation]) -> list[list[str]]:
    """Header and body as text: metric, unit, one cell a set. Metrics that no set has are left out."""
    versions = {e.metrics.hse_version for e in evaluations.values()}
    rows = [["Metric", "Unit", *evaluations]]
    for line in LINES:
        cells = [_cell(evaluation, line) for evaluation in evaluations.values()]
        if any(cells):
            label = f"{line.label} ({', '.join(sorted(versions))})" if line.field == "hse" else line.label
            rows.append([label, line.unit, *(cell or "-" for cell in cells)])
    rows += _class_rows(evaluations)
    for name in COUNTS:
        label = {"found": "Targets found", "predicted": "Objects predicted"}.get(name, name.capitalize())
        rows.append([label, "", *(str(getattr(e.metrics, name)) for e in evaluations.values())])
    return rows


def _class_rows(evaluations: Mapping[str, Evaluation]) -> list[list[str]]:
    """Pd, with its counts, and the IoU of what was found, for every class that some set has."""
    rates, overlaps = [], []
    for name in CLASSES:
        results = [evaluation.classes[name] for evaluation in evaluations.values()]
        if any(result.targets for result in results):
            found = [f"{_percent(r.pd)} ({r.found}/{r.targets})" if r.targets else "-" for r in results]
            rates.append([f"Pd, {name}", "%", *found])
            overlaps.append([f"IoU of those found, {name}", "%", *(_percent(r.iou) for r in results)])
    return rates + overlaps


def format_table(evaluations: Mapping[str, Evaluation], *, style: Style = "text") -> str:
    """The table as aligned text for a terminal or as markdown, with a last line that says how it was measured.

    Args:
        evaluations: By the name of the set.
        style: ``"text"`` or ``"markdown"``.

    Raises:
        ValueError: There is no evaluation.
    """
    if not evaluations:
        raise ValueError("no evaluation to print; pass {name: evaluate(...)}")
    rows = table_rows(evaluations)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    aligned = [
        [cell.ljust(width) if column < 2 else cell.rjust(width) for column, (cell, width) in enumerate(pairs)]
        for pairs in ([*zip(row, widths, strict=True)] for row in rows)
    ]
    if style == "markdown":
        lines = ["| " + " | ".join(row) + " |" for row in aligned]
        rule = ["-" * w if column < 2 else "-" * (w - 1) + ":" for column, w in enumerate(widths)]
        lines.insert(1, "| " + " | ".join(rule) + " |")
    else:
        lines = ["  ".join(row).rstrip() for row in aligned]
        lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*lines, "", conditions(evaluations)])


def conditions(evaluations: Mapping[str, Evaluation]) -> str:
    """One sentence: profile, threshold, distance and what the brackets mean."""
    settings = {(e.metrics.profile, e.metrics.threshold, e.metrics.distance_px) for e in evaluations.values()}
    parts = [
        f"profile {profile}, probability > {threshold:g}, centroids less than {distance:g} px apart, original size"
        for profile, threshold, distance in sorted(settings)
    ]
    levels = {interval.level for e in evaluations.values() for interval in e.intervals.values()}
    if levels:
        parts.append(
            f"[{', '.join(f'{level:.0%}' for level in sorted(levels))} bootstrap interval over images]"
        )
    return "; ".join(parts) + "."


def _cell(evaluation: Evaluation, line: Line) -> str:
    value = _value(evaluation, line.field)
    if value is None:
        return ""
    interval = evaluation.intervals.get(line.field)
    if interval is None:
        return _number(value, line.unit)
    return f"{_number(value, line.unit)} [{_number(interval.low, line.unit)}, {_number(interval.high, line.unit)}]"


def _value(evaluation: Evaluation, field: str) -> float | None:
    if field.startswith("pd_at_fa_"):
        return (evaluation.metrics.pd_at_fa or {}).get(field.removeprefix("pd_at_fa_"))
    value: float | None = getattr(evaluation.metrics, field)
    return value


def _percent(value: float | None) -> str:
    return "-" if value is None else _number(value, "%")


def _number(value: float, unit: str) -> str:
    if unit == "%":
        return f"{100 * value:.2f}"
    return f"{value:.3f}" if unit == "/frame" else f"{value:.2f}"
