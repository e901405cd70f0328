# SPDX-License-Identifier: Apache-2.0
"""``pitviper label``: click points on frames in the browser."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pitviper.sdk.cli import exits, options, serving
from pitviper.sdk.cli.progress import ProgressLine
from pitviper.sdk.cli.signals import check
from pitviper.sdk.errors import InputError, MissingExtra, SinkError

if TYPE_CHECKING:
    from pitviper.sdk.web.labelling import LabelBook

__all__ = ["add_parser", "run"]


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``label``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "label",
        help="click one point for each target, in the browser",
        description="Show frames on a local web page and keep the points that are clicked in a CSV file, which "
        "pitviper-train pal, semantic_priors and lesps read (--points). Every change is saved at once; labels in the "
        "file are continued. Needs the extra web; no internet.",
    )
    parser.add_argument(
        "input",
        metavar="SOURCE",
        help="a folder of images, a pattern or an image; with --frames also a video or a recording (replay://DIR)",
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="F.csv", help="the points: image,row,column"
    )
    group = parser.add_argument_group("frames of a video or a recording")
    group.add_argument(
        "--frames",
        type=Path,
        metavar="DIR",
        help="write them to this folder first, bit for bit, and label that",
    )
    group.add_argument("--every", type=int, metavar="N", help="take every Nth (default: 1)")
    serving.add_page_options(parser.add_argument_group("page"))
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    token, hosts = serving.access(args)
    try:
        import uvicorn  # noqa: F401 - found missing here, before frames are written

        from pitviper.sdk.web.labelling import FrameFolder, LabelBook, make_label_app
    except ImportError as error:
        raise MissingExtra(
            f"label needs starlette, uvicorn and prometheus-client ({error}); pip install 'pitviper[web]'"
        ) from error
    options.check_target(str(args.out))
    if args.every is not None and (args.frames is None or args.every < 1):
        raise InputError("--every N is at least 1 and belongs to --frames DIR")
    if args.frames is not None:
        from pitviper.sdk.web.labelling.extraction import extract_frames

        with ProgressLine(None) as progress:
            count = extract_frames(args.input, args.frames, every=args.every or 1, step=progress.step)
        print(f"{count} frames written to {args.frames}", file=sys.stderr)
    frames = FrameFolder(args.input if args.frames is None else str(args.frames))
    book = LabelBook(frames, args.out)
    _say(book)
    with serving.listening(make_label_app(frames, book, token=token, hosts=hosts), args) as serve:
        try:
            serve(lambda: None)
        finally:
            _finish(book)
    check()
    return exits.OK


def _say(book: LabelBook) -> None:
    status = book.status()
    print(
        f"{status['frames']} frames, {status['labelled']} of them labelled; Ctrl-C ends, everything is saved as you go",
        file=sys.stderr,
    )
    if book.elsewhere:
        print(f"{book.elsewhere} labelled frames are not in this source; they are kept", file=sys.stderr)


def _finish(book: LabelBook) -> None:
    """Say what was labelled; what could not be written goes to stdout, so that nothing is lost."""
    status = book.status()
    if status["unsaved"]:
        try:
            book.save()
        except SinkError as error:
            sys.stdout.write(book.text())
            raise SinkError(f"{error} All labels went to stdout") from error
    print(
        f"{status['labelled']} of {status['frames']} frames labelled: {status['points']} points, "
        f"{status['empty']} frames without target",
        file=sys.stderr,
    )
