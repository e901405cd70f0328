# SPDX-License-Identifier: Apache-2.0
"""``pitviper replay``: decide on a recording again, and say whether the result is the same."""

from __future__ import annotations

import argparse
import math
import sys
from typing import TYPE_CHECKING, Any

from pitviper.sdk.cli import exits, options
from pitviper.sdk.cli.progress import ProgressLine
from pitviper.sdk.errors import InputError, SourceError

if TYPE_CHECKING:
    from pitviper.sdk.detections import Detections
    from pitviper.sdk.detector import Detector
    from pitviper.sdk.record import ReplaySource, RerunReport

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``replay``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "replay",
        help="run a recording again and compare the result bit for bit",
        description="Run detector, monitor and tracker over a recording as they were set up, and compare every result "
        "with the recorded one. Exit code 6 when one differs. For outputs: pitviper detect replay://DIR out.mp4",
    )
    parser.add_argument("recording", metavar="DIR", help="folder that `pitviper detect --record` has written")
    parser.add_argument(
        "--speed", type=float, metavar="F", help="times the original speed (default: as fast as it goes)"
    )
    parser.add_argument(
        "--frames-only", action="store_true", help="only read and check the frames; detect nothing"
    )
    parser.add_argument(
        "--on-error",
        default="raise",
        choices=("raise", "skip"),
        help="frames that are damaged: end with exit code 3, or skip and count them (default: %(default)s)",
    )
    parser.add_argument("--json", metavar="F|-", help="write the report as JSON")
    group = parser.add_argument_group("detector (default: as recorded)")
    group.add_argument("--model", metavar="NAME|PATH")
    group.add_argument("--engine", metavar="NAME")
    group.add_argument("--device", metavar="NAME")
    group.add_argument("--precision", metavar="NAME")
    group.add_argument("--threads", type=int, metavar="N")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Replay, compare, report."""
    from pitviper.sdk.record import ReplaySource, rerun

    options.check_target(args.json)
    source = ReplaySource(
        args.recording, speed=math.inf if args.speed is None else args.speed, on_error=args.on_error
    )
    with source:
        if args.frames_only:
            return _check_frames(source, args)
        with _detector(args, source) as detector, ProgressLine(source.info.count) as progress:

            def step(found: Detections) -> None:
                progress.step(f"{len(found)} targets")

            try:
                report = rerun(source, detector, progress=step)
            except InputError as error:
                raise SourceError(f"{args.recording}: {error}") from error
    _say(report)
    if args.json:
        options.write_json(args.json, report.to_dict())
    return exits.ACCURACY if report.differing else exits.OK


def _check_frames(source: ReplaySource, args: argparse.Namespace) -> int:
    with ProgressLine(source.info.count) as progress:
        count = 0
        for _ in source:
            progress.step()
            count += 1
    print(f"{count} frames are whole, {source.skipped} are not", file=sys.stderr)
    if args.json:
        options.write_json(args.json, {"frames": count, "unreadable": source.skipped})
    return exits.OK


def _detector(args: argparse.Namespace, source: ReplaySource) -> Detector:
    from pitviper.sdk.detector import Detector
    from pitviper.sdk.engines.registry import sets_threads
    from pitviper.sdk.frame_path import MAX_TARGETS
    from pitviper.sdk.frames import POLARITIES

    setup = source.recording.header.setup
    engine = {} if setup is None else setup.engine
    model = args.model or (setup.model if setup is not None else "")
    if not model:
        raise InputError(f"{args.recording} does not say which model it was made with; give --model")
    # With another engine the recorded device and precision have no meaning.
    same = args.engine is None or args.engine == engine.get("name")
    recorded = engine if same else {}
    name = args.engine or str(engine.get("name", "auto"))
    threads = recorded.get("threads") if recorded and sets_threads(name) else None
    return Detector(
        model,
        engine=name,
        device=args.device or str(recorded.get("device", "auto")),
        precision=args.precision or str(recorded.get("precision", "auto")),
        threads=args.threads if args.threads is not None else threads,
        max_targets=MAX_TARGETS if setup is None else setup.max_targets,
        polarity=POLARITIES[0] if setup is None else setup.polarity,
    )


def _say(report: RerunReport) -> None:
    for note in report.other:
        print(f"not as recorded: {note}", file=sys.stderr)
    for note in report.not_compared:
        print(f"not compared: {note}", file=sys.stderr)
    compared = report.frames - report.without_result
    bad = f", {report.unreadable} unreadable" if report.unreadable else ""
    if report.differing:
        verdict = f"{report.differing} differ; the first: {report.first}"
    else:
        verdict = "every result is the recorded one, bit for bit" if compared else "nothing to compare with"
    print(f"{report.frames} frames{bad}, {compared} compared: {verdict}", file=sys.stderr)
