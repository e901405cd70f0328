# SPDX-License-Identifier: Apache-2.0
"""The camera and the monitor that options of ``pitviper detect`` describe."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pitviper.sdk.sources import Source
    from pitviper.sdk.thermal import ThermalMonitor

__all__ = ["add_camera_option", "add_options", "make_monitor", "monitor_arguments", "report"]


def add_camera_option(group: Any) -> None:
    """``--camera``."""
    group.add_argument(
        "--camera",
        metavar="NAME|F",
        help="how raw 16-bit frames are read: boson, lepton, tau, infiray, seek, generic-y16, or a JSON profile",
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Camera and monitor."""
    group = parser.add_argument_group("thermal camera")
    add_camera_option(group)
    group.add_argument(
        "--monitor",
        default="auto",
        choices=("auto", "on", "off"),
        help="flag shutter, saturation, gain control, byte order and bad pixels; auto: for live sources and with "
        "--camera (default: %(default)s)",
    )
    group.add_argument(
        "--drop-bad-pixels",
        action="store_true",
        help="take out targets on pixels known to be bad instead of flagging them; they are counted",
    )


def make_monitor(args: argparse.Namespace, source: Source) -> ThermalMonitor | None:
    """The monitor for a source, or None.

    Raises:
        InputError: Bad pixels are to be dropped without a monitor.
    """
    chosen = monitor_arguments(args, source)
    if chosen is None:
        return None
    from pitviper.sdk.thermal import ThermalMonitor

    return ThermalMonitor(**chosen)


def monitor_arguments(args: argparse.Namespace, source: Source) -> dict[str, Any] | None:
    """The arguments of `ThermalMonitor` that the options stand for, or None for no monitor.

    Raises:
        InputError: As `make_monitor`.
    """
    from pitviper.sdk.errors import InputError

    wanted = args.monitor == "on" or args.drop_bad_pixels
    if args.monitor == "off":
        if args.drop_bad_pixels:
            raise InputError("--drop-bad-pixels needs the monitor; leave --monitor off out")
        return None
    if not wanted and not source.info.live and args.camera is None:
        return None
    return {"camera": args.camera, "bad_pixels": "remove" if args.drop_bad_pixels else "flag"}


def report(monitor: ThermalMonitor | None) -> None:
    """What the monitor saw, to stderr; nothing where there was nothing."""
    if monitor is None:
        return
    stats = monitor.stats
    notes = []
    if stats.flags:
        notes.append(f"frames flagged {json.dumps(dict(stats.flags))}")
    if stats.bad_px:
        notes.append(f"{stats.bad_px} bad pixels")
    if stats.removed:
        notes.append(f"{stats.removed} targets on bad pixels removed")
    if notes:
        print(f"monitor: {', '.join(notes)}", file=sys.stderr)
