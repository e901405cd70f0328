# SPDX-License-Identifier: Apache-2.0
"""``pitviper models``: which models are here, and what is known about one."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pitviper.sdk.cli import exits, options

if TYPE_CHECKING:
    from pitviper.core.manifest import Manifest

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``models``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "models",
        help="list the models, or show one",
        description="List the shipped models with their cost and validation results, or describe one package.",
    )
    parser.add_argument("model", nargs="?", metavar="NAME|PATH", help="show this one in full")
    parser.add_argument("--json", metavar="F|-", help="write the manifests as JSON")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print what is known. Every package that is shown has passed its hashes."""
    from pitviper.sdk.model import list_models, open_model

    manifests = [open_model(name).manifest for name in ([args.model] if args.model else list_models())]
    if args.json:
        found = [asdict(manifest) for manifest in manifests]
        options.write_json(args.json, found[0] if args.model else found)
        return exits.OK
    print(_overview(manifests))
    print(_validation(manifests))
    if args.model:
        print(_details(manifests[0]))
    return exits.OK


def _overview(manifests: list[Manifest]) -> str:
    rows = [["model", "M parameters", "GMAC at 256x256", "threshold", "licence"]]
    for manifest in manifests:
        cost = manifest.architecture.get("deployed") or {}
        parameters, work = cost.get("parameters"), cost.get("gmac_256x256")
        rows.append(
            [
                manifest.name,
                "-" if parameters is None else f"{parameters / 1e6:.3f}",
                "-" if work is None else f"{work:.3f}",
                f"{manifest.default_threshold():g}",
                manifest.licence,
            ]
        )
    return _aligned(rows)


def _validation(manifests: list[Manifest]) -> str:
    """Results on the validation sets at the threshold above; a model without any says so."""
    rows = [["", "validated on", "images", "IoU %", "nIoU %", "Pd %", "Fa px/Mpx", "false objects/frame"]]
    for manifest in manifests:
        for name, values in manifest.metrics.items():
            shares = [_number(values.get(key), 100, 1) for key in ("iou", "niou", "pd")]
            alarms = [_number(values.get("fa_per_mpix"), 1, 1)]
            alarms.append(_number(values.get("false_objects_per_frame"), 1, 3))
            split = f"{name} {values.get('split', '')}".strip()
            rows.append([manifest.name, split, str(values.get("images", "-")), *shares, *alarms])
        if not manifest.metrics:
            rows.append([manifest.name, "not validated", *"------"])
    return "\n" + _aligned(rows)


def _details(manifest: Manifest) -> str:
    rows = [["operating point", "threshold", "measured on", "Pd %", "Fa px/Mpx", "false objects/frame"]]
    for point in manifest.operating_points:
        alarms = [_number(point.fa_per_mpix, 1, 1), _number(point.false_objects_per_frame, 1, 3)]
        rows.append([point.name, f"{point.threshold:g}", point.data, _number(point.pd, 100, 1), *alarms])
    named = Counter((each.get("name"), each.get("frames")) for each in manifest.data)
    trained = ", ".join(
        f"{name} ({frames} frames{f', {times} times an epoch' if times > 1 else ''})"
        for (name, frames), times in named.items()
    )
    return (
        f"\n{_aligned(rows)}\n\ntrained on  {trained or 'not stated'}\nprovenance  {manifest.provenance}\n"
        f"command     {manifest.training.get('command', 'not stated')}\nthe whole manifest: --json -"
    )


def _number(value: float | None, factor: float, digits: int) -> str:
    return "-" if value is None else f"{factor * value:.{digits}f}"


def _aligned(rows: list[list[str]]) -> str:
    """Columns as wide as they need, those with letters to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numeric = [all(not any(map(str.isalpha, row[i])) for row in rows[1:]) for i in range(len(widths))]
    lines = (
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, numeric, strict=True)
        ).rstrip()
        for row in rows
    )
    return "\n".join(lines)
