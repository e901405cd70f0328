# SPDX-License-Identifier: Apache-2.0
"""``pitviper bench``: where the time of one frame goes on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pitviper.sdk.cli import exits, options
from pitviper.sdk.engines.onnxruntime import cpu_session
from pitviper.sdk.errors import MissingExtra

if TYPE_CHECKING:
    from pitviper.sdk.profile import Profile
    from pitviper.sdk.stream_stats import Spread

__all__ = ["add_parser", "run"]

_COLUMNS = ("median", "p90", "p99", "max")


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``bench``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "bench",
        help="time each stage of one frame",
        description="Time each stage of detect() on one synthetic frame. Models take turns, so that a change of the "
        "machine's pace hits all alike.",
    )
    parser.add_argument(
        "--model", action="append", metavar="NAME|PATH", help="repeatable (default: all shipped)"
    )
    parser.add_argument(
        "--size", type=options.size, default=(512, 640), metavar="WxH", help="default: 640x512"
    )
    parser.add_argument("--dtype", default="uint16", choices=("uint8", "uint16", "float16", "float32"))
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="default: %(default)s")
    parser.add_argument(
        "--against",
        choices=("acm",),
        help="also time this published network alone, in ONNX Runtime, in the same run (needs the extra export)",
    )
    parser.add_argument(
        "--fail-over-ms", type=float, metavar="MS", help="exit 7 if a median total is above this"
    )
    parser.add_argument("--json", metavar="F|-", help="write the numbers as JSON")
    options.add_detector_options(parser, model=False)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Time the models and print a table each."""
    from pitviper.sdk.model import list_models
    from pitviper.sdk.profile import profile_together

    options.check_target(args.json)
    names = args.model or list_models()
    others = {args.against: _network_alone(args.against, args.size, args.threads)} if args.against else {}
    detectors = [options.make_detector(args, model=name) for name in names]
    try:
        profiles, spreads = profile_together(
            detectors, args.size, seconds=args.seconds, dtype=args.dtype, others=others
        )
    finally:
        for detector in detectors:
            detector.close()
    if args.json:
        against = {f"{name}_network_alone_ms": spread.to_dict() for name, spread in spreads.items()}
        options.write_json(args.json, {"profiles": [profile.to_dict() for profile in profiles], **against})
    if args.json != "-":
        _print(profiles, spreads)
    slowest = max(profile.stages["total"].median for profile in profiles)
    if args.fail_over_ms is not None and slowest > args.fail_over_ms:
        print(
            f"the slowest frame takes {slowest:.2f} ms, above --fail-over-ms {args.fail_over_ms:g}",
            file=sys.stderr,
        )
        return exits.LATENCY
    return exits.OK


def _network_alone(name: str, shape: tuple[int, int], threads: int | None) -> Callable[[], object]:
    """A call that runs a network of the zoo, with random weights, on a standardised frame of ``shape``."""
    try:
        from pitviper.core.export import network_onnx
        from pitviper.core.models import create_model

        network = create_model(name).eval()
        content = network_onnx(network)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"--against {name} needs torch and onnx ({error}); pip install 'pitviper[export]'"
        ) from error
    session = cpu_session(content, f"network {name!r}", threads=threads)
    multiple = network.required_multiple
    padded = [-(-side // multiple) * multiple for side in shape]
    channels = network.in_channels
    given = np.random.default_rng(0).standard_normal((1, channels, *padded)).astype(np.float32)
    feed = {session.get_inputs()[0].name: given}
    return lambda: session.run(None, feed)


def _print(profiles: list[Profile], spreads: dict[str, Spread]) -> None:
    first = profiles[0]
    machine, engine = first.machine, first.engine
    print(
        f"{machine['processor']}, {machine['cores']} cores, {engine['name']} {engine['version']} "
        f"on {engine['device']}, threads {engine['threads'] or 'default'}"
    )
    print(f"frame {first.shape[1]}x{first.shape[0]} {first.dtype}, {first.rounds} rounds, milliseconds")
    for profile in profiles:
        print(f"\n{profile.model:14s}" + "".join(f"{column:>9s}" for column in _COLUMNS))
        for stage, spread in profile.stages.items():
            _print_row(stage, spread)
        print(
            f"  around the network: {100 * profile.surroundings:.1f} % of the total; {profile.targets} targets"
        )
    for name, spread in spreads.items():
        print(f"\n{name} (network alone, random weights)")
        _print_row("network", spread)
        for profile in profiles:
            ratio = profile.stages["total"].median / spread.median
            print(f"  {profile.model} whole takes {ratio:.2f} times as long")


def _print_row(name: str, spread: Spread) -> None:
    print(f"  {name:12s}" + "".join(f"{getattr(spread, column):9.2f}" for column in _COLUMNS))
