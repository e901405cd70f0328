# SPDX-License-Identifier: Apache-2.0
"""``pitviper export``: the detector as one file, or with its network in 8 bits, checked."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pitviper.sdk.cli import exits, options
from pitviper.sdk.export import FORMATS, PRECISIONS
from pitviper.sdk.quantise import METHODS

if TYPE_CHECKING:
    from pitviper.sdk.export import ExportReport

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``export``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "export",
        help="write the detector as one file, or in 8 bits",
        description="Write the whole detector (raw counts in, probability map out) as one file, or the model's package "
        "with its network in 8 bits, and compare it with the running engine first.",
    )
    parser.add_argument(
        "output",
        metavar="OUTPUT",
        help="file to write, for example pit-s.onnx (an existing one is replaced), or the folder of a package",
    )
    parser.add_argument("--format", default="onnx", choices=FORMATS, help="default: %(default)s")
    parser.add_argument("--precision", default="fp32", choices=PRECISIONS, help="default: %(default)s")
    parser.add_argument("--json", metavar="F|-", help="write the report as JSON")
    group = parser.add_argument_group("int8 and comparing engines")
    group.add_argument("--calibrate", metavar="FRAMES", help="frames that the ranges of int8 are taken from")
    group.add_argument(
        "--ranges", default="percentile", choices=tuple(METHODS), help="how (default: %(default)s)"
    )
    frames = group.add_mutually_exclusive_group()
    frames.add_argument("--verify", metavar="FRAMES", help="compare every engine here on these frames first")
    frames.add_argument(
        "--data", metavar="DIR", help="the same on a data set with masks, which also gives Pd, IoU and Fa"
    )
    group.add_argument("--split", default="val", help="of the data set (default: %(default)s)")
    group.add_argument("--force", action="store_true", help="write it although a limit is broken")
    options.add_detector_options(parser, precision=False)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Export and print the report."""
    options.check_target(args.json)
    frames: Any = args.verify
    if args.data:
        from pitviper.core.datasets import open_dataset

        frames = open_dataset(args.data, args.split)
        options.say_what_was_drawn([frames])
    with options.make_detector(args, precision="auto") as detector:
        report = detector.export(
            args.output,
            format=args.format,
            precision=args.precision,
            calibrate=args.calibrate,
            ranges=args.ranges,
            verify=frames,
            force=args.force,
        )
    if args.json:
        options.write_json(args.json, report.to_dict())
    if args.json != "-":
        print("\n".join(_lines(report)))
    return exits.OK


def _lines(report: ExportReport) -> list[str]:
    lines = [
        f"{report.path}: {report.precision}, {report.bytes} bytes, sha256 {report.sha256}",
        f"compared with engine {report.engine} on {report.frames} synthetic frames: largest difference of probability "
        f"{report.max_abs_difference:.2g}, {report.differing_targets} of {report.targets} targets differ",
    ]
    if report.quantisation:
        made = report.quantisation
        lines.append(
            f"{made['convolutions'] - len(made['kept_fp32'])} of {made['convolutions']} convolutions in 8 bits, "
            f"calibrated by {made['ranges']} on {made['frames']} frames"
        )
    for each in report.comparisons:
        lines.append(
            f"{each.engine}: {each.frames} frames, {each.targets} targets, {each.lost} lost, {each.added} added, "
            f"{each.borderline} at the threshold, moved by {each.moved_px:.2g} px at most; largest difference of "
            f"probability {each.max_abs_difference:.2g} on {each.difference_frame}"
        )
        for key, (before, after) in (each.truth or {}).items():
            lines.append(f"  {key} {_said(before)} -> {_said(after)}")
    lines += [f"accepted by --force: {text}" for text in report.broken]
    return lines


def _said(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"
