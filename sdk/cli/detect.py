# SPDX-License-Identifier: Apache-2.0
"""``pitviper detect``: targets of every frame of a source."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from pitviper.sdk.cli import camera, exits, options, outputs, tracking
from pitviper.sdk.cli.progress import ProgressLine
from pitviper.sdk.errors import InputError, SourceError

if TYPE_CHECKING:
    from pitviper.sdk.stream import Stream

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``detect`` and its alias ``predict``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "detect",
        aliases=["predict"],
        help="find targets in a video, a folder, a camera or a stream",
        description="Find targets in every frame of a source. Ctrl-C ends it with complete outputs.",
    )
    parser.add_argument(
        "input",
        metavar="INPUT",
        help="video, image, folder, quoted glob, /dev/videoN, rtsp://..., synthetic://?frames=100",
    )
    outputs.add_options(parser)
    group = parser.add_argument_group("stream")
    group.add_argument(
        "--mode", default="auto", choices=("auto", "all", "latest"), help="default: %(default)s"
    )
    group.add_argument("--every", type=int, default=1, metavar="N", help="process every N-th frame only")
    group.add_argument("--frames", type=int, metavar="N", help="stop after N processed frames")
    options.add_reading_options(group)
    group.add_argument(
        "--on-error",
        default="raise",
        choices=("raise", "skip"),
        help="frames that cannot be read: end with exit code 3, or skip and count them (default: %(default)s)",
    )
    group.add_argument("--stats", metavar="F|-", help="write counts and stage times as JSON at the end")
    camera.add_options(parser)
    tracking.add_options(parser)
    options.add_detector_options(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Stream the source through the detector into the outputs."""
    if args.frames is not None and args.frames < 1:
        raise InputError(f"--frames must be at least 1, got {args.frames}")
    options.check_target(args.stats)
    tracker = tracking.make_tracker(args)
    from pitviper.sdk.sources import open_source

    with options.make_detector(args) as detector:
        source = open_source(
            args.input,
            timeout_s=args.timeout,
            on_error=args.on_error,
            options=dict(args.source_option),
            camera=args.camera,
        )
        try:
            monitor = camera.make_monitor(args, source)
            sinks = outputs.open_outputs(args, source.info.fps, source.files)
        except BaseException:
            source.close()
            raise
        stream = detector.stream(
            source,
            mode=args.mode,
            sinks=sinks,
            every=args.every,
            timeout_s=args.timeout,
            on_error=args.on_error,
            monitor=monitor,
            tracker=tracker,
        )
        targets = [0]
        try:
            _follow(stream, source.info.count, args.frames, targets)
        except InputError as error:
            # The arguments were fine: it is a frame of the source that cannot be used.
            raise SourceError(str(error)) from error
        finally:
            _report(stream, targets[0])
            camera.report(monitor)
            tracking.report(tracker)
            if args.stats:
                seen = {} if monitor is None else {"monitor": monitor.stats.to_dict()}
                options.write_json(args.stats, {**stream.stats.to_dict(), **seen})
    return exits.OK


def _follow(stream: Stream, count: int | None, limit: int | None, targets: list[int]) -> None:
    total = min(filter(None, (count, limit)), default=None)
    done = 0
    with stream, ProgressLine(total) as progress:
        for found in stream:
            targets[0] += len(found)
            progress.step(f"{len(found)} targets")
            done += 1
            if done == limit:
                return


def _report(stream: Stream, targets: int) -> None:
    stats = stream.stats
    dropped = f", dropped {json.dumps(dict(stats.dropped))}" if stats.dropped else ""
    print(
        f"{stats.processed} frames{dropped}, {targets} targets, {stats.fps:.1f} frames per second",
        file=sys.stderr,
    )
