# SPDX-License-Identifier: Apache-2.0
"""Outputs of ``pitviper detect`` that go over the network: a broker, and a page for Prometheus."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from pitviper.sdk.errors import InputError

if TYPE_CHECKING:
    from pitviper.sdk.stream_stats import StreamStats

__all__ = ["PASSWORD_VARIABLE", "add_options", "open_services", "report", "watch"]

PASSWORD_VARIABLE: Final = "PITVIPER_MQTT_PASSWORD"


def add_options(parser: argparse.ArgumentParser) -> None:
    """``--mqtt`` and ``--metrics``."""
    group = parser.add_argument_group("network outputs")
    group.add_argument(
        "--mqtt",
        metavar="URL",
        help="a message for each frame to mqtt://USER@HOST:PORT/TOPIC, or mqtts:// for TLS; the password in the "
        f"variable {PASSWORD_VARIABLE}, which no other user of this machine sees, or in the URL",
    )
    group.add_argument(
        "--mqtt-qos", type=int, choices=(0, 1, 2), help="0: sent once; 1, 2: acknowledged (default: 0)"
    )
    group.add_argument("--mqtt-ca", metavar="F", help="certificates that the broker's must be signed by")
    group.add_argument(
        "--metrics",
        metavar="[HOST:]PORT",
        help="numbers for Prometheus at http://HOST:PORT/metrics; HOST is this machine only unless it is named, and "
        "PORT 0 takes a free one",
    )


def open_services(args: argparse.Namespace) -> list[Any]:
    """The sinks that the options name; one that is open is closed when the other cannot be opened.

    Raises:
        InputError: An option that cannot be, or belongs to another. SinkError: The broker refuses.
        MissingExtra: A package is not installed.
    """
    from pitviper.sdk.sinks import Metrics, Mqtt

    if args.mqtt is None and (args.mqtt_qos is not None or args.mqtt_ca is not None):
        raise InputError("--mqtt-qos and --mqtt-ca belong to --mqtt URL; add it")
    opened: list[Any] = []
    if args.metrics is not None:
        host, port = _place(args.metrics)
        metrics = Metrics()
        found = metrics.serve(port, host)
        shown = f"[{host}]" if ":" in host else host
        print(f"metrics at http://{shown}:{found}/metrics", file=sys.stderr, flush=True)
        opened.append(metrics)
    if args.mqtt is not None:
        try:
            password = os.environ.get(PASSWORD_VARIABLE)
            opened.append(Mqtt(args.mqtt, qos=args.mqtt_qos or 0, ca=args.mqtt_ca, password=password))
        except BaseException:
            for sink in opened:
                sink.close()
            raise
    return opened


def _place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise InputError(f"--metrics must be PORT or HOST:PORT with a port of 0 to 65535, got {text!r}")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


def watch(sinks: list[Any], stream: Any, **others: Any) -> None:
    """Let the metrics among the sinks show this stream; ``others`` are those of `Metrics.watch`."""
    from pitviper.sdk.sinks import Metrics

    for sink in sinks:
        if isinstance(sink, Metrics):
            sink.watch(stream, **others)


def report(stats: StreamStats) -> None:
    """Say on stderr what outputs have lost; nothing where nothing was lost."""
    for name, counts in stats.outputs.items():
        if counts.dropped:
            lost = ", ".join(f"{count} {cause}" for cause, count in sorted(counts.dropped.items()))
            print(
                f"{name}: {counts.written} of {counts.given} results written; lost: {lost}", file=sys.stderr
            )
