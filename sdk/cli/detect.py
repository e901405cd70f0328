# SPDX-License-Identifier: Apache-2.0
"""``pitviper detect``: targets of every frame of a source."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pitviper.sdk.cli import camera, exits, options, outputs, recording, services, signals, tracking
from pitviper.sdk.cli.progress import ProgressLine
from pitviper.sdk.cli.status import StatusLine
from pitviper.sdk.errors import InputError, SourceError

if TYPE_CHECKING:
    from pitviper.sdk.reconnect import Reconnect
    from pitviper.sdk.stream import Stream

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``detect`` and its alias ``predict``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "detect",
        aliases=["predict"],
        help="find targets in a video, a folder, a camera or a stream",
        description="Find targets in every frame of a source. Ctrl-C and SIGTERM end it with complete outputs.",
    )
    parser.add_argument(
        "input",
        metavar="INPUT",
        help="video, image, folder, quoted glob, /dev/videoN, rtsp://..., synthetic://?frames=100",
    )
    outputs.add_options(parser)
    recording.add_options(parser)
    group = parser.add_argument_group("stream")
    group.add_argument(
        "--mode",
        default="auto",
        choices=("auto", "all", "latest", "fresh", "throughput"),
        help="all: every frame; latest: the newest, older ones are dropped and counted; fresh: in order, none older "
        "than --max-age; throughput: all, several at once; auto: latest for live sources, else all",
    )
    group.add_argument("--max-age", type=float, metavar="S", help="for --mode fresh (default: 0.5)")
    group.add_argument(
        "--reconnect",
        type=float,
        default=60.0,
        metavar="S",
        help="open a lost live source again, and give up after S seconds without a frame; 0 ends at once, inf never "
        "gives up (default: %(default)g)",
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
    options.add_detector_options(parser, polarity=True)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Stream the source through the detector into the outputs."""
    if args.frames is not None and args.frames < 1:
        raise InputError(f"--frames must be at least 1, got {args.frames}")
    options.check_target(args.stats)
    tracker = tracking.make_tracker(args)
    from pitviper.sdk.reconnect import open_reconnecting

    with options.make_detector(args) as detector:
        source = open_reconnecting(
            args.input,
            _policy(args.reconnect),
            timeout_s=args.timeout,
            on_error=args.on_error,
            options=dict(args.source_option),
            camera=args.camera,
        )
        try:
            tracking.require_pace(args, source.info)
            monitor = camera.make_monitor(args, source)
            sinks = outputs.open_outputs(args, source.info.fps, source.files)
            sinks = recording.with_recorder(args, source, detector, sinks)
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
            max_age_s=args.max_age,
        )
        services.watch(sinks, stream, detector=detector, monitor=monitor, tracker=tracker)
        targets = [0]
        try:
            # Nothing but `stream` and the sinks must see the first signal: what was captured is still processed.
            with signals.draining(stream.stop):
                _follow(stream, source.info.count, args.frames, targets, prints=outputs.prints_json(args))
        except InputError as error:
            # The arguments were fine: it is a frame of the source that cannot be used.
            raise SourceError(str(error)) from error
        finally:
            _report(stream, targets[0])
            services.report(stream.stats)
            camera.report(monitor)
            tracking.report(tracker)
            if args.stats:
                seen = {} if monitor is None else {"monitor": monitor.stats.to_dict()}
                options.write_json(args.stats, {**stream.stats.to_dict(), **seen})
    return exits.OK


def _policy(seconds: float) -> Reconnect | bool:
    from pitviper.sdk.reconnect import Reconnect

    if seconds == 0:
        return False
    if not seconds > 0:
        raise InputError(f"--reconnect must be 0 or more seconds, got {seconds:g}")
    return Reconnect(give_up_s=None if seconds == math.inf else seconds)


def _follow(
    stream: Stream, count: int | None, limit: int | None, targets: list[int], *, prints: bool
) -> None:
    total = min(filter(None, (count, limit)), default=None)
    with stream:
        if stream.info.live:
            with StatusLine(stream, colour="NO_COLOR" not in os.environ) as status:
                _count(stream, limit, targets, status.step)
        else:
            with ProgressLine(total, beside=prints) as progress:
                _count(stream, limit, targets, lambda found: progress.step(f"{found} targets"))


def _count(stream: Stream, limit: int | None, targets: list[int], show: Callable[[int], object]) -> None:
    for done, found in enumerate(stream, start=1):
        targets[0] += len(found)
        show(len(found))
        if done == limit:
            return


def _report(stream: Stream, targets: int) -> None:
    stats = stream.stats
    again = f", reconnected {stats.reconnects} times" if stats.reconnects else ""
    # What was read ahead when the user had enough is no loss.
    lost = {reason: count for reason, count in stats.dropped.items() if reason != "closed"}
    dropped = (
        f", dropped {', '.join(f'{count} ({reason})' for reason, count in lost.items())}" if lost else ""
    )
    print(
        f"{stats.processed} frames{dropped}{again}, {targets} targets, {stats.fps:.1f} frames per second",
        file=sys.stderr,
    )
