# SPDX-License-Identifier: Apache-2.0
"""The outputs that ``pitviper detect`` can write, as options and as sinks."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_options", "open_outputs"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """OUTPUT and the options beside it."""
    parser.add_argument("output", nargs="?", metavar="OUTPUT", help="annotated video to write (.mp4, .mkv)")
    group = parser.add_argument_group("further outputs (without any output, JSON lines go to stdout)")
    group.add_argument("--json", metavar="F|-", help="JSON lines, one object a frame; - is stdout")
    group.add_argument("--masks", metavar="DIR", help="a PNG mask for each frame")
    group.add_argument("--coco", metavar="F", help="COCO results")
    group.add_argument("--mot", metavar="F", help="MOT challenge text")


def open_outputs(args: argparse.Namespace, fps: float | None) -> list[Any]:
    """The sinks that the options name; those already open are closed when one cannot be opened.

    Args:
        args: Parsed options.
        fps: Frames per second of the source, for the video; None where it is not known.

    Raises:
        SinkError: An output cannot be opened.
    """
    from pitviper.sdk import sinks

    chosen = {
        "video": args.output,
        "masks": args.masks,
        "coco": args.coco,
        "mot": args.mot,
        "json": args.json,
    }
    if not any(chosen.values()):
        chosen["json"] = "-"
    return list(sinks.open_sinks(**{name: value for name, value in chosen.items() if value}, fps=fps))
