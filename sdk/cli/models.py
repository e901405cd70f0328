# SPDX-License-Identifier: Apache-2.0
"""``pitviper models``: which models are here, and what is known about one."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from pitviper.sdk.cli import exits, options

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``models``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "models",
        help="list the models, or show one",
        description="List the shipped models, or describe one package.",
    )
    parser.add_argument("model", nargs="?", metavar="NAME|PATH", help="show this one in full")
    parser.add_argument("--json", metavar="F|-", help="write JSON to a file or to stdout")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the table, or one manifest. Every package that is shown has passed its hashes."""
    from pitviper.sdk.model import list_models, open_model

    if args.model:
        options.write_json(args.json or "-", asdict(open_model(args.model).manifest))
        return exits.OK
    manifests = [open_model(name).manifest for name in list_models()]
    if args.json:
        options.write_json(args.json, [asdict(manifest) for manifest in manifests])
        return exits.OK
    for manifest in manifests:
        print(f"{manifest.name:8s} {manifest.licence}, threshold {manifest.default_threshold():g}")
        for point in manifest.operating_points:
            found = "unknown" if point.pd is None else f"{100 * point.pd:.1f} %"
            print(
                f"         {point.name} on {point.data}: Pd {found}, {point.fa_per_mpix:.1f} false-alarm pixels "
                f"per Mpix, {point.false_objects_per_frame:.2f} false objects per frame"
            )
    return exits.OK
