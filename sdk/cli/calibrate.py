# SPDX-License-Identifier: Apache-2.0
"""``pitviper calibrate``: score against false alarms on empty scenes of one's own."""

from __future__ import annotations

import argparse
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pitviper.sdk.cli import budget, camera, exits, options, signals
from pitviper.sdk.cli.progress import ProgressLine
from pitviper.sdk.errors import InputError, SinkError, SourceError

if TYPE_CHECKING:
    from pitviper.sdk.calibration import Calibration

__all__ = ["add_parser", "run"]

_HIGHER = (7.0, 10.0, 15.0, 20.0, 30.0, 50.0)
"""Log-odds, where probabilities are no longer told apart."""
_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``calibrate``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "calibrate",
        help="measure false alarms on empty scenes, for a threshold that keeps to a budget",
        description="Measure how high a model scores on scenes that hold no target, and write a small JSON file that "
        "--calibration (threshold= in Python) takes. The bounds hold for scenes of the same kind: same camera, "
        "settings, place and weather.",
    )
    parser.add_argument("input", metavar="INPUT", help="video, folder, camera or stream without any target")
    parser.add_argument("--out", required=True, metavar="F", help="JSON file to write; - is stdout")
    group = parser.add_argument_group("budget")
    budget.add_budget_options(group)
    group.add_argument(
        "--confidence", type=float, default=0.95, metavar="C", help="of the bounds (default: %(default)s)"
    )
    group.add_argument(
        "--block",
        type=int,
        metavar="N",
        help="frames that count as one: with an alarm or without (default: one second, or 1 without a frame rate)",
    )
    group = parser.add_argument_group("source")
    group.add_argument("--frames", type=int, metavar="N", help="stop after N frames")
    camera.add_camera_option(group)
    options.add_reading_options(group)
    options.add_detector_options(parser, threshold=False, polarity=True)
    parser.set_defaults(run=run, threshold=None, calibration=None)
    return parser


def run(args: argparse.Namespace) -> int:
    """Measure, write the file, print the table."""
    from pitviper.sdk.empty_scenes import calibrate
    from pitviper.sdk.reconnect import open_reconnecting

    options.check_target(args.out)
    wanted = budget.chosen_budget(args)
    if not 0 < args.confidence < 1:
        raise InputError(f"--confidence must lie between 0 and 1, got {args.confidence}")
    for name in ("block", "frames"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            raise InputError(f"--{name} must be at least 1, got {getattr(args, name)}")
    with options.make_detector(args, budgeted=False) as detector:
        source = open_reconnecting(
            args.input, timeout_s=args.timeout, options=dict(args.source_option), camera=args.camera
        )
        total = min(filter(None, (source.info.count, args.frames)), default=None)
        stopping = threading.Event()

        def step(score: float) -> bool:
            progress.step(f"score {score:.3f}")
            return not stopping.is_set()

        # Ctrl-C ends an hour in front of a camera with what was measured in it, and so does a camera that fails.
        with ProgressLine(total) as progress, signals.draining(stopping.set):
            try:
                made = calibrate(
                    detector,
                    source,
                    budget=wanted,
                    block=args.block,
                    frames=args.frames,
                    confidence=args.confidence,
                    timeout_s=args.timeout,
                    progress=step,
                    kept=lambda made: _keep(args.out, made),
                )
            except InputError as error:
                # The arguments were fine: the source has unusable frames, or too few.
                raise SourceError(str(error)) from error
            _write(args.out, made)
            _print(made)
    if wanted is not None:
        # Last, so that the measurement is on disk although it cannot vouch for the budget.
        print(f"threshold for the budget: {_named(made.chosen_threshold())}", file=sys.stderr)
    return exits.OK


def _keep(target: str, made: Calibration) -> None:
    _write(target, made)
    print(f"the source failed; the {made.frames} frames before that are in {target}", file=sys.stderr)


def _write(target: str, made: Calibration) -> None:
    if target == "-":
        sys.stdout.write(made.to_json())
        return
    try:
        Path(target).write_text(made.to_json(), encoding="utf-8")
    except OSError as error:
        raise SinkError(f"{target} cannot be written: {error}") from error


def _print(made: Calibration) -> None:
    """The table, to stderr: the file is the data."""
    from pitviper.sdk.calibration import LOG_ODDS
    from pitviper.sdk.log_odds import LogOdds, log_odds_of

    per_hour = 3600.0 * made.fps / made.block if made.fps else None
    lines = [
        f"{made.frames} frames in {made.blocks} blocks of {made.block}; "
        f"each bound by itself holds at {100 * made.confidence:g} %",
        "  threshold  blocks with an alarm  share  at most" + ("  at most per hour" if per_hour else ""),
    ]
    levels = (*_LEVELS, *map(LogOdds, _HIGHER)) if made.scale == LOG_ODDS else _LEVELS
    for level in levels:
        lowest = LogOdds(made.scores[-1]) if made.scale == LOG_ODDS else made.scores[-1]
        if len(made.scores) < made.blocks and log_odds_of(level) < log_odds_of(lowest):
            continue
        alarms, bound = made.alarms(level), made.bound(level)
        row = f"{_named(level):>11}  {alarms:20d}  {alarms / made.blocks:5.3f}  {bound:7.4f}"
        lines.append(row + (f"  {bound * per_hour:16.1f}" if per_hour else ""))
        if alarms == 0:
            break  # Higher thresholds have the same row.
    if made.resemblance is not None:
        lines.append(f"rank correlation of neighbouring blocks {made.resemblance:.2f} (independent: 0)")
    lines.append(f"holds if: {made.assumption}")
    print("\n".join(lines), file=sys.stderr)


def _named(threshold: float) -> str:
    """A threshold in a line: a probability, or log-odds where that is nearly 1."""
    from pitviper.sdk.log_odds import LogOdds

    near = isinstance(threshold, LogOdds) and threshold > 0.995
    return repr(threshold) if near else f"{float(threshold):.4g}"
