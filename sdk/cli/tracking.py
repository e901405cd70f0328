# SPDX-License-Identifier: Apache-2.0
"""The tracker that options of ``pitviper detect`` describe."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from pitviper.sdk.errors import InputError

if TYPE_CHECKING:
    from pitviper.sdk.sources.frame import SourceInfo
    from pitviper.sdk.tracking import Tracker

__all__ = ["add_options", "make_tracker", "report", "require_pace", "tracker_arguments"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """``--track`` and what goes with it."""
    group = parser.add_argument_group("tracks")
    group.add_argument(
        "--track", action="store_true", help="follow targets: ids in every output, trails in the video"
    )
    group.add_argument(
        "--confirm",
        type=_pair,
        metavar="M/N",
        help="a track needs M detections in its first N frames (default: 3/5)",
    )
    group.add_argument(
        "--coast",
        type=float,
        metavar="S",
        help="seconds that a track goes on without a detection (default: 0.5)",
    )
    group.add_argument(
        "--fps",
        type=float,
        metavar="F",
        help="frames per second of a source without time stamps, such as a folder",
    )


def make_tracker(args: argparse.Namespace) -> Tracker | None:
    """The tracker, or None without ``--track``.

    Raises:
        InputError: A value out of range, or an option that would do nothing.
    """
    chosen = tracker_arguments(args)
    if not args.track:
        if chosen:
            raise InputError("--confirm, --coast and --fps belong to the tracker; add --track")
        return None
    from pitviper.sdk.tracking import Tracker

    return Tracker(**chosen)


def require_pace(args: argparse.Namespace, info: SourceInfo) -> None:
    """Refuse to track images of which nobody says how fast they follow each other, before an output is emptied.

    Raises:
        InputError: ``--track`` of images without ``--fps``.
    """
    if args.track and args.fps is None and info.kind == "images":
        raise InputError("--track needs to know how fast the images follow each other; add --fps 25, say")


def tracker_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `Tracker` that the options stand for."""
    given = {"confirm": args.confirm, "max_coast_s": args.coast, "clock": args.fps}
    return {name: value for name, value in given.items() if value is not None}


def report(tracker: Tracker | None) -> None:
    """What the tracker counted, to stderr."""
    if tracker is None:
        return
    stats = tracker.stats
    odd = {
        "repeated": stats.repeated,
        "late": stats.late,
        "guessed": stats.guessed,
        "restarts": stats.restarts,
    }
    notes = "".join(f", {count} {name}" for name, count in odd.items() if count)
    print(f"{stats.confirmed} tracks confirmed of {stats.started} begun{notes}", file=sys.stderr)


def _pair(text: str) -> tuple[int, int]:
    hits, _, frames = text.partition("/")
    if not (hits.isdigit() and frames.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is not M/N, such as 3/5")
    return int(hits), int(frames)
