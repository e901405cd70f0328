# SPDX-License-Identifier: Apache-2.0
"""``pitviper export``: the whole detector as one file, checked."""

from __future__ import annotations

import argparse
from typing import Any

from pitviper.sdk.cli import exits, options

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``export``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "export",
        help="write the detector as one file",
        description="Write the whole detector (raw counts in, probability map out) as one file and compare it with the "
        "running engine first.",
    )
    parser.add_argument(
        "output", metavar="OUTPUT", help="file to write, for example pit-s.onnx; an existing one is replaced"
    )
    parser.add_argument("--format", default="onnx", help="onnx (default: %(default)s)")
    parser.add_argument("--json", metavar="F|-", help="write the report as JSON")
    options.add_detector_options(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Export and print the report."""
    with options.make_detector(args) as detector:
        report = detector.export(args.output, format=args.format)
    if args.json:
        options.write_json(args.json, report.to_dict())
    else:
        print(
            f"{report.path}: {report.bytes} bytes, sha256 {report.sha256}\n"
            f"compared with engine {report.engine} on {report.frames} frames: largest difference of probability "
            f"{report.max_abs_difference:.2g}, {report.differing_targets} of {report.targets} targets differ"
        )
    return exits.OK
