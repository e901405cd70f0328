# SPDX-License-Identifier: Apache-2.0
"""``pitviper-train adapt``: the half of ``pitviper adapt`` that needs torch."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from pitviper.train.adaptation.settings import AdaptSettings

REFUSED = 6
"""Exit code of a refusal: that of an accuracy gate, as in ``pitviper``."""

_HELP = {
    "steps": "optimiser steps, in whole epochs",
    "batch": "crops of a step",
    "lr": "peak learning rate",
    "crop": "side of the crops in pixels",
    "tolerance": "how far (IoU + Pd) / 2 of a guarding set may fall",
    "chance": "a change for the worse less probable than this by chance refuses",
    "seed": "of everything that is drawn",
}


def add_adapt(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``adapt``."""
    parser = commands.add_parser("adapt", help="adapt a package to frames that pitviper adapt has gathered")
    parser.add_argument("material", type=Path, help="folder that pitviper adapt has gathered")
    parser.add_argument("--package", type=Path, required=True, help="weights package to adapt")
    parser.add_argument("--out", type=Path, required=True, help="folder for the report and the new package")
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="FOLDER",
        help="data set with masks to mix in; repeatable",
    )
    kinds = {"int": int, "float": float}
    for entry in fields(AdaptSettings):
        if entry.name in _HELP:
            what = f"{_HELP[entry.name]} (default {entry.default})"
            parser.add_argument(
                f"--{entry.name}", type=kinds[str(entry.type)], default=entry.default, help=what
            )
    parser.add_argument("--resume", action="store_true", help="go on with what was begun in --out")
    parser.add_argument(
        "--keep-work", action="store_true", help="leave frames, labels and checkpoints in OUT/work"
    )
    parser.add_argument("--accelerator", default="auto", help="cpu, cuda, auto (default)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (0: torch decides)")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from pitviper.train.adaptation.run import PACKAGE, adapt
    from pitviper.train.hardware import Hardware

    values = {f.name: getattr(options, f.name) for f in fields(AdaptSettings)}
    settings = AdaptSettings(**{**values, "data": tuple(options.data)})
    hardware = Hardware(options.accelerator, "1", "32-true", options.threads)
    verdict, page = adapt(settings, hardware=hardware, resume=options.resume)
    print(f"report {page}", file=sys.stderr)
    if not verdict.accepted:
        for reason in verdict.reasons:
            print(f"pitviper-train: refused: {reason}", file=sys.stderr)
        print("the package before stays as it is; no other was written", file=sys.stderr)
        return REFUSED
    print(settings.out / PACKAGE)
    return 0
