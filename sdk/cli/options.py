# SPDX-License-Identifier: Apache-2.0
"""Options that several subcommands share, and the detector that they describe."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pitviper.sdk.cli import budget
from pitviper.sdk.errors import SinkError

if TYPE_CHECKING:
    from pitviper.core.datasets import Dataset
    from pitviper.sdk.detector import Detector

__all__ = [
    "add_detector_options",
    "add_reading_options",
    "check_target",
    "key_value",
    "make_detector",
    "say_what_was_drawn",
    "size",
    "write_json",
]


def add_detector_options(
    parser: argparse.ArgumentParser,
    *,
    model: bool = True,
    threshold: bool = True,
    precision: bool = True,
    polarity: bool = False,
) -> None:
    """Model, engine, precision and threshold, each unless it is left out; polarity where it is asked for."""
    group = parser.add_argument_group("detector")
    if model:
        group.add_argument("--model", default="pit-s", metavar="NAME|PATH", help="default: %(default)s")
    group.add_argument(
        "--engine", default="auto", help="auto or a name that doctor lists (default: %(default)s)"
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    if precision:
        group.add_argument(
            "--precision",
            default="auto",
            help="auto (fp32 on a CPU), or one that the engine offers: bf16, int8 (default: %(default)s)",
        )
    group.add_argument(
        "--threads", type=int, metavar="N", help="threads of the network (default: as its runtime likes)"
    )
    if threshold:
        budget.add_threshold_options(group)
    group.add_argument(
        "--max-targets",
        type=int,
        default=256,
        metavar="N",
        help="most targets of a frame (default: %(default)s)",
    )

    if polarity:
        group.add_argument(
            "--polarity",
            choices=("bright", "dark"),
            default="bright",
            help="targets against their surroundings; dark for warm ones on a black-hot camera (default: %(default)s)",
        )


def add_reading_options(group: argparse._ArgumentGroup) -> None:
    """``--timeout`` and ``--source-option``, for commands that read a source."""
    group.add_argument(
        "--timeout", type=float, default=5.0, metavar="S", help="longest wait for a frame in seconds"
    )
    group.add_argument(
        "--source-option",
        action="append",
        default=[],
        type=key_value,
        metavar="KEY=VALUE",
        help="an option of the source: input_format=gray16le of a camera, colour=luma of image files; repeatable",
    )


def make_detector(
    args: argparse.Namespace,
    *,
    model: str | None = None,
    precision: str | None = None,
    budgeted: bool = True,
) -> Detector:
    """The detector that the options describe.

    Args:
        args: From a parser with `add_detector_options`.
        model: Instead of ``--model``.
        precision: Instead of ``--precision``.
        budgeted: False leaves the threshold out.
    """
    from pitviper.sdk.detector import Detector

    return Detector(
        args.model if model is None else model,
        engine=args.engine,
        device=args.device,
        precision=args.precision if precision is None else precision,
        threads=args.threads,
        threshold=budget.chosen_threshold(args) if budgeted else None,
        max_targets=args.max_targets,
        polarity=getattr(args, "polarity", "bright"),
    )


def size(text: str) -> tuple[int, int]:
    """``WIDTHxHEIGHT`` as (height, width)."""
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and min(int(width), int(height)) >= 32):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no size such as 640x512 (width x height, at least 32x32)"
        )
    return int(height), int(width)


def key_value(text: str) -> tuple[str, str]:
    """``KEY=VALUE`` as a pair."""
    key, sign, value = text.partition("=")
    if not key or not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE, such as input_format=gray16le")
    return key, value


def check_target(target: str | None) -> None:
    """Find out before the work, and not after it, that a file for `write_json` cannot be made.

    Raises:
        SinkError: It is a folder or read-only, or its folder is or does not exist.
    """
    if target is None or target == "-":
        return
    path = Path(target)
    if path.is_dir():
        raise SinkError(f"{target} cannot be written: it is a folder; name a file in it")
    if not path.parent.is_dir():
        raise SinkError(f"{target} cannot be written: the folder {path.parent} does not exist; make it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise SinkError(f"{target} cannot be written: read-only, or not this user's; choose another place")


def write_json(target: str, value: Any) -> None:
    """Write a JSON document to a file, or to stdout for ``-``.

    Raises:
        SinkError: The file cannot be written.
    """
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    if target == "-":
        sys.stdout.write(text)
        return
    try:
        Path(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise SinkError(f"{target} cannot be written: {error}") from error


def say_what_was_drawn(datasets: Iterable[Dataset]) -> None:
    """To stderr: data sets of which no list parts train from val."""
    from pitviper.core.datasets import drawn_remark

    for dataset in datasets:
        if dataset.drawn:
            print(drawn_remark(dataset), file=sys.stderr)
