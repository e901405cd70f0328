# SPDX-License-Identifier: Apache-2.0
"""Comparisons over seeds: means, paired differences, and the cells that tables show them in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from paired import difference, estimate

Run = dict[str, Any]
COLUMNS = {
    "iou": "IoU", "niou": "nIoU", "pd": "Pd", "fa_per_mpix": "Fa, px/Mpx",
    "false_objects_per_frame": "false objects/frame", "f1": "F1", "hiou": "hIoU", "hse": "HSE (hse-v0)",
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


def labels(row: dict[str, Any]) -> list[str]:
    """First cells of a row of ``summarise``."""
    return [row["model"], row["condition"], row["branch"], row["set"], str(len(row["seeds"]))]


def plus_minus(value: dict[str, Any] | None, key: str) -> str:
    """Mean and half of its interval of the metric ``key``, in percent where it is a share."""
    if value is None:
        return "-"
    digits = _digits(key)
    text = f"{_scaled(value['mean'], key):.{digits}f}"
    half = None if value["high"] is None else _scaled(value["high"] - value["mean"], key)
    return text if half is None else f"{text} ± {half:.{digits}f}"


def interval(value: dict[str, Any] | None, key: str) -> str:
    """A difference with its interval, signed."""
    if value is None:
        return "-"
    mean = _signed(value["mean"], key)
    if value["low"] is None:
        return mean
    return f"{mean} [{_signed(value['low'], key)}, {_signed(value['high'], key)}]"


def _signed(value: float, key: str) -> str:
    digits = _digits(key)
    return f"{round(_scaled(value, key), digits) + 0.0:+.{digits}f}"  # adding 0 turns a rounded -0.0 into 0.0


def _digits(key: str) -> int:
    return 2 if key == "false_objects_per_frame" else 1


def _scaled(value: float, key: str) -> float:
    return value if key in _NO_PERCENT else 100 * value


def _column(seeds: dict[int, dict[str, Any]], metric: str) -> dict[int, float] | None:
    values = {seed: found[metric] for seed, found in seeds.items()}
    return None if not values or any(v is None for v in values.values()) else values
