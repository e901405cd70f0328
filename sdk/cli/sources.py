# SPDX-License-Identifier: Apache-2.0
"""``pitviper sources``: what can be opened, which cameras are here, and what a source really delivers."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pitviper.sdk.cli import exits, options
from pitviper.sdk.errors import InputError

if TYPE_CHECKING:
    from pitviper.sdk.sources.probing import DeviceReport, ProbeReport

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``sources``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "sources",
        help="list what can be opened, or look at what a source delivers",
        description="Without arguments: every kind of source, and whether it can be used here. `sources probe` lists "
        "the cameras with their formats; `sources probe SOURCE` reads some frames and says what they are.",
    )
    parser.add_argument("action", nargs="?", default="list", choices=("list", "probe"))
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="what `pitviper detect` takes")
    parser.add_argument("--json", metavar="F|-", help="write the answer as JSON")
    group = parser.add_argument_group("probe")
    group.add_argument(
        "--frames", type=int, default=30, metavar="N", help="frames to read (default: %(default)s)"
    )
    group.add_argument(
        "--seconds",
        type=float,
        default=5.0,
        metavar="S",
        help="stop reading after S seconds (default: %(default)g)",
    )
    options.add_reading_options(group)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """List or probe."""
    options.check_target(args.json)
    if args.action == "list":
        if args.source is not None:
            raise InputError(f"to look at {args.source!r}: pitviper sources probe {args.source}")
        return _list(args)
    if args.source is None:
        return _devices(args)
    if args.frames < 1 or not args.seconds > 0:
        raise InputError(
            f"--frames must be at least 1 and --seconds above 0, got {args.frames} and {args.seconds}"
        )
    from pitviper.sdk.sources import open_source
    from pitviper.sdk.sources.probing import probe_source

    source = open_source(
        args.source, timeout_s=args.timeout, on_error="skip", options=dict(args.source_option)
    )
    report = probe_source(source, frames=args.frames, seconds=args.seconds)
    if args.json:
        options.write_json(args.json, report.to_dict())
    if args.json != "-":
        print("\n".join(_told(report)))
    return exits.OK


def _list(args: argparse.Namespace) -> int:
    from pitviper.sdk.sources.schemes import SCHEMES

    rows = [
        {
            "names": list(scheme.names),
            "delivers": scheme.summary,
            "example": scheme.example,
            "live": scheme.live,
            "options": scheme.options,
            "missing": scheme.missing(),
        }
        for scheme in SCHEMES
    ]
    if args.json:
        options.write_json(args.json, rows)
    if args.json != "-":
        for scheme in SCHEMES:
            print(f"{', '.join(scheme.names):14}{scheme.summary}")
            print(f"{'':14}{scheme.example}")
            missing = scheme.missing()
            if missing:
                print(f"{'':14}not usable here: {missing}")
        print("From Python also arrays [N, H, W], lists, generators, functions and scenes.")
    return exits.OK


def _devices(args: argparse.Namespace) -> int:
    from pitviper.sdk.sources.probing import probe_devices

    devices = probe_devices()
    if args.json:
        options.write_json(args.json, [asdict(device) for device in devices])
    if args.json != "-":
        print(
            "\n".join(line for device in devices for line in _shown(device))
            or "no camera (/dev/videoN) is here"
        )
    return exits.OK


def _shown(device: DeviceReport) -> list[str]:
    if device.problem:
        return [f"{device.path}: {device.problem}"]
    lines = [f"{device.path}: {device.card} ({device.driver})"]
    for offer in device.formats:
        lines.append(f"  {offer['format']:8}{offer['description']}")
        for size, rates in offer["sizes"].items():
            shown = ", ".join(f"{rate:g}" for rate in rates)
            lines.append(f"    {size}{f' at {shown} frames per second' if shown else ''}")
    return lines


def _told(report: ProbeReport) -> list[str]:
    sizes = ", ".join(f"{size} (height x width)" for size in report.shapes)
    bits = "" if report.used_bits is None else f", {report.used_bits} bits used"
    if report.low_bits_unused:
        bits += f", the lowest {report.low_bits_unused} always 0: the counts were shifted up"
    lines = [
        f"{report.name}: {report.kind}, {'live' if report.live else 'not live'}",
        f"frames    {report.frames} read, {report.skipped} unreadable, {report.repeated} equal to the one before",
        f"size      {sizes}",
        f"pixels    {', '.join(report.dtypes)}, {report.lowest:g} to {report.highest:g}{bits}",
        f"rate      stated {_number(report.stated_fps)}, by arrival {_number(report.measured_fps)}, "
        f"by its own times {_number(report.sensor_fps)} frames per second",
        f"times     {report.sensor_times}"
        + (f", clock {report.sensor_clock}" if report.sensor_clock else ""),
    ]
    if report.telemetry_rows:
        rows = ", ".join(map(str, report.telemetry_rows))
        lines.append(
            f"telemetry suspected in rows {rows} (-1 is the last); choose a --camera that crops them"
        )
    if report.byte_order_suspected:
        lines.append("bytes     probably in the wrong order; a profile with byte_order big swaps them")
    if report.fitting_profiles:
        lines.append(f"profiles  that know this size: {', '.join(report.fitting_profiles)}")
    if report.flags:
        lines.append("flags     " + ", ".join(f"{name} {count}" for name, count in report.flags.items()))
    return lines


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:g}"
