# SPDX-License-Identifier: Apache-2.0
"""The outputs that ``pitviper detect`` can write, as options and as sinks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pitviper.sdk.cli import services
from pitviper.sdk.errors import InputError

__all__ = ["add_options", "open_outputs", "prints_json"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """OUTPUT and the options beside it."""
    parser.add_argument("output", nargs="?", metavar="OUTPUT", help="annotated video to write (.mp4, .mkv)")
    group = parser.add_argument_group(
        "further outputs (without any output, JSON lines go to stdout; existing files are replaced)"
    )
    group.add_argument("--json", metavar="F|-", help="JSON lines, one object a frame; - is stdout")
    group.add_argument(
        "--pictures",
        metavar="DIR",
        help="an annotated PNG picture for each frame; a folder without PNG files",
    )
    group.add_argument("--masks", metavar="DIR", help="a PNG mask for each frame; a folder without PNG files")
    group.add_argument("--coco", metavar="F", help="COCO results")
    group.add_argument("--mot", metavar="F", help="MOT challenge text")
    services.add_options(parser)


def prints_json(args: argparse.Namespace) -> bool:
    """Whether JSON lines go to stdout: they were asked for there, or there is no other output."""
    chosen = (args.output, args.pictures, args.masks, args.coco, args.mot, args.record, args.mqtt)
    return args.json == "-" or (not args.json and not any(chosen))


def open_outputs(args: argparse.Namespace, fps: float | None, inputs: Sequence[Path]) -> list[Any]:
    """The sinks that the options name; those already open are closed when one cannot be opened.

    Args:
        args: Parsed options.
        fps: Frames per second of the source, for the video; None where it is not known.
        inputs: Files of the source, which are never written to.

    Raises:
        SinkError: An output cannot be opened, or is an input or another output.
        InputError: What cannot go to stdout would, or both JSON lines and statistics would; or as from `services`.
    """
    from pitviper.sdk.sinks import open_sinks, opening

    chosen = {
        "video": args.output,
        "pictures": args.pictures,
        "masks": args.masks,
        "coco": args.coco,
        "mot": args.mot,
        "json": args.json,
    }
    if prints_json(args):
        chosen["json"] = "-"
    for name in ("video", "pictures", "masks", "coco", "mot"):
        if chosen[name] == "-":
            raise InputError(
                f"the output {name} cannot go to stdout; give it a path (JSON lines can: --json -)"
            )
    if args.stats == "-" and chosen["json"] == "-":
        raise InputError("JSON lines and --stats would both go to stdout; give one of them a file")
    others = {"stats": args.stats, "log": args.log_file}
    files = {name: path for name, path in {**chosen, **others}.items() if path and path != "-"}
    opening.refuse_twins(files)
    opening.refuse_inputs(files, inputs)
    # A log is added to, not replaced.
    old = [path for name, path in files.items() if name != "log" and Path(path).is_file()]
    opened = open_sinks(**{name: path for name, path in chosen.items() if path}, fps=fps, keep=inputs)
    if old:
        print(f"replacing {', '.join(old)}", file=sys.stderr)
    try:
        return [*opened, *services.open_services(args)]
    except BaseException:
        opening.abandon_all(opened)
        raise
