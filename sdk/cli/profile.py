# SPDX-License-Identifier: Apache-2.0
"""``pitviper profile``: stages and layers of one frame beside what the machine allows, or the floors of a board."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pitviper.sdk.boards import BOARDS
from pitviper.sdk.cli import exits, options
from pitviper.sdk.errors import InputError

if TYPE_CHECKING:
    from pitviper.sdk.profile import Profile
    from pitviper.sdk.profiling.layers import LayerTime
    from pitviper.sdk.profiling.rates import Rates

__all__ = ["add_parser", "run"]

FLOOR: Final = "floor, not a measurement"
_COLUMNS: Final = ("median", "p90", "p99", "max")
_SHOWN: Final = 0.01
"""Share of the layers' time below which a layer is counted with the rest."""


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``profile``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "profile",
        help="time stages and layers, or compute a board's floors",
        description="Time each stage of a frame and each layer of the network, beside the bytes and operations that it "
        "cannot do without and the time that these take at this machine's measured rates. With --board nothing is "
        "run: the floors of the fused launches are computed from the board's data sheet.",
    )
    parser.add_argument(
        "--shape",
        type=options.size,
        default=(512, 640),
        metavar="WxH",
        help="of the frame (default: 640x512)",
    )
    parser.add_argument(
        "--seconds", type=float, default=5.0, metavar="S", help="for stages (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=20, metavar="N", help="for layers (default: %(default)s)"
    )
    parser.add_argument("--board", choices=tuple(BOARDS), help=f"print its {FLOOR}")
    parser.add_argument("--json", metavar="F|-", help="write the numbers as JSON")
    parser.add_argument("--trace", metavar="F", help="write the median frame as a Chrome trace")
    parser.add_argument(
        "--roofline", metavar="PNG", help="draw the layers under their roof (needs the extra viz)"
    )
    parser.add_argument(
        "--fail-over-ms",
        type=float,
        metavar="MS",
        help="exit 7 if the median total, or the sum of floors, is above",
    )
    options.add_detector_options(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Profile, print, write what was asked for."""
    for target in (args.json, args.trace, args.roofline):
        options.check_target(target)
    if args.rounds < 1:
        raise InputError(f"--rounds must be at least 1, got {args.rounds}")
    total = _on_board(args) if args.board else _here(args)
    over = args.fail_over_ms is not None and total > args.fail_over_ms
    if over:
        print(f"a frame takes {total:.2f} ms, above --fail-over-ms {args.fail_over_ms:g}", file=sys.stderr)
    return exits.LATENCY if over else exits.OK


def _here(args: argparse.Namespace) -> float:
    """Measure on this machine; the median of a whole frame in ms."""
    from pitviper.sdk.profiling.layers import PROFILED, layer_times
    from pitviper.sdk.profiling.rates import measure_rates, rates_missing
    from pitviper.sdk.profiling.state import machine_state

    with options.make_detector(args) as detector:
        profile = detector.profile(args.shape, seconds=args.seconds)
        info = detector.engine_info
        layers = []
        if info.name in PROFILED:
            layers = layer_times(detector.package, info, args.shape, rounds=args.rounds)
    device = info.device.split()[0]
    # The processor's rates would be those of another machine than a GPU.
    unmeasured = rates_missing(device)
    rates = None
    if not unmeasured:
        rates = measure_rates(info.threads, precision=info.precision, engine=info.name, device=device)
    state = machine_state()
    if args.json:
        told = [_layer(layer, rates) for layer in layers]
        parts = {"state": state, "rates": rates and rates.to_dict(), "layers": told}
        options.write_json(args.json, {"profile": profile.to_dict(), **parts})
    if args.json != "-":
        _print_stages(profile, state)
        if rates:
            said = f"{rates.how}: {rates.gigabytes_per_s:.3g} GB/s, {rates.gigaoperations_per_s:.4g} Gop/s"
        print(f"\nrates, {said}" if rates else f"\nno rates, and so no floors: {unmeasured}")
        _print_layers(layers, rates, info.name)
    if args.trace:
        from pitviper.sdk.profiling.trace import chrome_trace

        options.write_json(args.trace, chrome_trace(profile, layers))
    if args.roofline:
        from pitviper.sdk.profiling.roofline import Point, draw_roofline

        if not layers:
            raise InputError(f"--roofline needs times of layers, and engine {info.name!r} tells none")
        if rates is None:
            raise InputError(f"--roofline needs the rates of this machine: {unmeasured}")
        draw_roofline(
            Path(args.roofline),
            [Point(layer.name, layer.cost, layer.spread.median) for layer in layers],
            gigabytes_per_s=rates.gigabytes_per_s,
            gigaoperations_per_s=rates.gigaoperations_per_s,
            title=f"{profile.model}, {info.name} {info.precision}, measured on {profile.machine['processor']}",
        )
    return profile.stages["total"].median


def _on_board(args: argparse.Namespace) -> float:
    """Compute a board's floors; their sum in ms."""
    from pitviper.sdk.model import open_model
    from pitviper.sdk.profiling.floors import static_report

    if args.trace:
        raise InputError("--trace shows what was measured; with --board nothing is. Leave one of them out")
    board, package = BOARDS[args.board], open_model(args.model)
    report = static_report(package, board, args.shape)
    total = sum(launch.floor_ms for launch in report)
    if args.json:
        told = {
            "board": board.to_dict(),
            "model": package.manifest.name,
            "shape": list(args.shape),
            "precision": "fp16",
        }
        launches = [launch.to_dict() for launch in report]
        options.write_json(
            args.json,
            {"kind": FLOOR, **told, "precision": "fp16", "sum_of_floors_ms": total, "launches": launches},
        )
    if args.json != "-":
        height, width = args.shape
        print(f"{board.module}: {FLOOR}")
        print(f"{package.manifest.name}, frame {width}x{height} uint16, batch 1, maps and weights fp16")
        print(
            f"{board.gigabytes_per_s:g} GB/s, {board.gigaoperations_per_s:.0f} Gop/s dense fp16; {board.source}"
        )
        print(f"\n{'launch':44s}{'MB':>9s}{'Mop':>10s}{'op/byte':>9s}{'floor, ms':>11s}  bound")
        for launch in report:
            print(f"{launch.name:44s}{_needs(launch.cost)}{launch.floor_ms:11.3f}  {launch.bound}")
        print(f"\nsum of {len(report)} floors: {total:.3f} ms ({FLOOR})")
    if args.roofline:
        from pitviper.sdk.profiling.roofline import Point, draw_roofline

        draw_roofline(
            Path(args.roofline),
            [Point(launch.name, launch.cost, launch.floor_ms) for launch in report],
            gigabytes_per_s=board.gigabytes_per_s,
            gigaoperations_per_s=board.gigaoperations_per_s,
            title=f"{package.manifest.name} on {board.module}: {FLOOR}",
        )
    return total


def _floor(layer: LayerTime, rates: Rates) -> float:
    return layer.cost.floor_ms(
        gigabytes_per_s=rates.gigabytes_per_s, gigaoperations_per_s=rates.gigaoperations_per_s
    )


def _layer(layer: LayerTime, rates: Rates | None) -> dict[str, Any]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "kernel": layer.kernel,
        "clock": layer.clock,
        "ms": layer.spread.to_dict(),
        "bytes": layer.cost.bytes_moved,
        "operations": layer.cost.operations,
        "floor_ms": round(_floor(layer, rates), 6) if rates else None,
    }


def _print_stages(profile: Profile, state: dict[str, Any]) -> None:
    machine, engine = profile.machine, profile.engine
    print(
        f"{machine['processor']}, {machine['cores']} cores, {engine['name']} {engine['version']} "
        f"{engine['precision']} on {engine['device']}, threads {engine['threads'] or 'default'}"
    )
    print("; ".join(f"{name} {_said(value)}" for name, value in state.items()))
    print(
        f"{profile.model}, frame {profile.shape[1]}x{profile.shape[0]} {profile.dtype}, {profile.rounds} rounds, ms"
    )
    print(f"\n{'stage':14s}" + "".join(f"{column:>9s}" for column in _COLUMNS))
    for stage, spread in profile.stages.items():
        print(f"{stage:14s}" + "".join(f"{getattr(spread, column):9.2f}" for column in _COLUMNS))


def _print_layers(layers: list[LayerTime], rates: Rates | None, engine: str) -> None:
    if not layers:
        print(f"\nengine {engine!r} tells no times of its layers")
        return
    print(f"times by {layers[0].clock}")
    print(
        f"\n{'layer':44s}{'median':>9s}{'p90':>9s}{'p99':>9s}{'share':>8s}{'MB':>9s}{'Mop':>10s}{'op/byte':>9s}"
        f"{'floor':>9s}{'of floor':>10s}"
    )
    total = sum(layer.spread.median for layer in layers)
    rest = []
    for layer in layers:
        if layer.spread.median < _SHOWN * total:
            rest.append(layer)
            continue
        times, floor = layer.spread, f"{'-':>9s}{'-':>10s}"
        if rates:
            least = _floor(layer, rates)
            floor = f"{least:9.3f}{100 * least / times.median:9.0f}%"
        name = f"{layer.name.removesuffix('/WithoutBiases')} {layer.kernel}"
        print(
            f"{name[:43]:44s}{times.median:9.3f}{times.p90:9.3f}{times.p99:9.3f}{100 * times.median / total:7.1f}%"
            f"{_needs(layer.cost)}{floor}"
        )
    left = sum(layer.spread.median for layer in rest)
    print(f"{f'{len(rest)} layers below {100 * _SHOWN:g} % each':44s}{left:9.3f}")
    print(f"{'all layers (medians added)':44s}{total:9.3f}")
    if rates and any(_floor(layer, rates) > layer.spread.median for layer in layers):
        print("a floor above the time: these maps came from a cache, or something else ran beside the probe")


def _needs(cost: Any) -> str:
    return f"{cost.bytes_moved / 1e6:9.2f}{cost.operations / 1e6:10.1f}{cost.intensity:9.1f}"


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {each:g}" for name, each in value.items())
    if isinstance(value, list):
        return "/".join(f"{each:.4g}" for each in value)
    return str(value)
