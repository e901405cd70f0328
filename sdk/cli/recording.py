# SPDX-License-Identifier: Apache-2.0
"""The recording that options of ``pitviper detect`` describe."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pitviper.sdk.cli import camera, tracking
from pitviper.sdk.errors import InputError

if TYPE_CHECKING:
    from pitviper.sdk.detector import Detector
    from pitviper.sdk.sources import Source

__all__ = ["add_options", "with_recorder"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """``--record`` and its format."""
    group = parser.add_argument_group("recording")
    group.add_argument(
        "--record",
        metavar="DIR",
        help="keep every processed frame bit for bit, with times and targets, in a new folder, for `pitviper replay`",
    )
    group.add_argument(
        "--record-format",
        choices=("raw", "ffv1"),
        help="raw (fast, large) or ffv1 (lossless video, smaller, slow) (default: raw)",
    )


def with_recorder(
    args: argparse.Namespace, source: Source, detector: Detector, sinks: list[Any]
) -> list[Any]:
    """The sinks, and before them the recorder if one was asked for; the sinks are closed when it cannot be opened.

    Raises:
        SinkError: The folder cannot be made, or is not empty. InputError: A format without ``--record``.
    """
    from pitviper.sdk.sinks.opening import abandon_all

    try:
        if args.record is None:
            if args.record_format is not None:
                raise InputError("--record-format belongs to --record DIR; add it")
            return sinks
        from pitviper.sdk.record import Recorder, Setup

        setup = Setup.of(
            detector,
            max_targets=args.max_targets,
            monitor=camera.monitor_arguments(args, source),
            tracker=tracking.tracker_arguments(args) if args.track else None,
        )
        recorder = Recorder(
            args.record,
            encoding=args.record_format or "raw",
            info=source.info,
            setup=setup,
            camera=args.camera,
        )
    except BaseException:
        abandon_all(sinks)
        raise
    return [recorder, *sinks]
