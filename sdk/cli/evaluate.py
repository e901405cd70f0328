# SPDX-License-Identifier: Apache-2.0
"""``pitviper eval``: a model against data sets with masks."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from pitviper.sdk.cli import exits, options
from pitviper.sdk.cli.progress import ProgressLine
from pitviper.sdk.errors import InputError, MissingExtra, SinkError, SourceError

if TYPE_CHECKING:
    from pitviper.core.datasets import Dataset
    from pitviper.core.evaluation import Evaluation
    from pitviper.sdk.detector import Detector

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``eval`` and its alias ``val``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "eval",
        aliases=["val"],
        help="judge a model on a data set",
        description="Judge a model on one split of data sets with masks, at the original size of their frames.",
    )
    parser.add_argument(
        "--data", required=True, action="append", metavar="DIR", help="folder of a data set; repeatable"
    )
    parser.add_argument("--split", default="val", help="train, val, test, all (default: %(default)s)")
    parser.add_argument("--profile", default="ours", help="convention of the metrics (default: %(default)s)")
    parser.add_argument("--draws", type=int, default=1000, metavar="N", help="bootstrap draws, 0 for none")
    parser.add_argument("--json", metavar="F|-", help="write the metrics as JSON")
    parser.add_argument("--report", metavar="DIR", help="write curves and a sheet of misses and false alarms")
    options.add_detector_options(parser, polarity=True)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Evaluate and print the table."""
    from pitviper.core.datasets import no_target_remark, open_dataset, require_own_names
    from pitviper.core.report import format_table

    options.check_target(args.json)
    if args.draws < 0:
        raise InputError(f"--draws must be at least 0 (no intervals), got {args.draws}")
    datasets = [open_dataset(folder, args.split) for folder in dict.fromkeys(args.data)]
    require_own_names(datasets)
    options.say_what_was_drawn(datasets)
    with options.make_detector(args) as detector:
        found = {f"{each.name} {each.split}": _judge(detector, each, args) for each in datasets}
        facts = _facts(detector, datasets)
    for each in {each.name: each for each in datasets}.values():
        judged = found[f"{each.name} {each.split}"]
        if not judged.metrics.targets and any(sample.mask for sample in each.samples):
            print(no_target_remark(each.name), file=sys.stderr)
    # The table comes first: a full disk must not cost the numbers.
    if args.json != "-":
        print(format_table(found), flush=True)
    if args.json:
        sets = {name: evaluation.to_dict() for name, evaluation in found.items()}
        options.write_json(args.json, {"facts": facts, "sets": sets})
    if args.report:
        _report(found, args.report, facts)
    return exits.OK


def _judge(detector: Detector, dataset: Dataset, args: argparse.Namespace) -> Evaluation:
    from pitviper.core.evaluation import evaluate
    from pitviper.core.metrics import DetectionMetrics

    try:
        metrics = DetectionMetrics(args.profile, threshold=detector.threshold)
    except ValueError as error:
        raise InputError(str(error)) from error
    with ProgressLine(len(dataset)) as progress:
        try:
            return evaluate(
                lambda frame: detector.detect(frame).score_map,
                dataset.samples,
                metrics=metrics,
                draws=args.draws,
                progress=lambda done, total, name: progress.step(name),
            )
        except InputError as error:
            # The arguments were fine: it is a frame of the data set that cannot be used.
            raise SourceError(f"{dataset.root}: {error}") from error


def _facts(detector: Detector, datasets: list[Dataset]) -> dict[str, str]:
    info = detector.engine_info
    splits = {
        f"split {each.name}": f"{each.split}, {len(each)} frames, {each.split_sha256}" for each in datasets
    }
    return {
        "model": f"{detector.manifest.name} ({detector.package.path})",
        "engine": f"{info.name} {info.version}, {info.device}, {info.precision}",
        "threshold": f"{detector.threshold:g}",
        **splits,
    }


def _report(found: dict[str, Evaluation], folder: str, facts: dict[str, str]) -> None:
    from pitviper.core.report import MissingMatplotlib, write_report

    try:
        write_report(found, folder, title=f"Evaluation of {facts['model']}", facts=facts)
    except MissingMatplotlib as error:
        raise MissingExtra(str(error)) from error
    except OSError as error:
        raise SinkError(f"{folder}: the report cannot be written: {error}") from error
