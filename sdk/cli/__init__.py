# SPDX-License-Identifier: Apache-2.0
"""The command ``pitviper``: one file per subcommand.

Each subcommand's module has ``add_parser(subparsers)``, which sets ``run``; what it needs is imported inside
``run``, so that ``--help`` is quick.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pitviper import __version__
from pitviper.sdk.cli import (
    adapt,
    bench,
    calibrate,
    demo,
    detect,
    doctor,
    evaluate,
    exits,
    export,
    label,
    logs,
    models,
    profile,
    replay,
    serve,
    sources,
)
from pitviper.sdk.cli.signals import Interrupts
from pitviper.sdk.errors import SdkError

__all__ = ["build_parser", "main"]

_FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
_COMMANDS = (
    detect,
    serve,
    label,
    adapt,
    sources,
    replay,
    evaluate,
    calibrate,
    export,
    models,
    doctor,
    bench,
    profile,
    demo,
)


class _Command(argparse.ArgumentParser):
    """Takes no shortened options, which would change their meaning when a longer name joins them, and takes its
    arguments before, between and behind options: ``detect INPUT --json F OUTPUT``."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)
        self._mixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, which would take an optional argument as left out at the first option."""
        if self._mixing:  # argparse parses mixed arguments by two calls of this method
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``pitviper`` with all subcommands."""
    parser = argparse.ArgumentParser(
        prog="pitviper",
        description="Finds targets of a few pixels in thermal video. Data goes to stdout, everything else to stderr.",
        epilog="Exit codes: 0 done, 1 failure, 2 usage, 3 source, 4 model or engine, 5 device, 6 accuracy gate, "
        "7 latency limit, 130 interrupted, 143 terminated.",
    )
    parser.add_argument("--version", action="version", version=f"pitviper {__version__}")
    subparsers = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_Command
    )
    for command in _COMMANDS:
        logs.add_options(command.add_parser(subparsers))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; those of the process if None.

    Returns:
        The exit code.
    """
    _replace_closed_streams()
    parser = build_parser()
    args, others = parser.parse_known_args(argv)
    if others:
        # What a shell makes of a pattern: its first files fill INPUT and OUTPUT, and the others are left over.
        hint = (
            "" if any(each.startswith("-") for each in others) else "; a pattern needs quotes: 'frames/*.png'"
        )
        parser.error(f"unrecognized arguments: {' '.join(others)}{hint}")
    with Interrupts() as interrupts:
        try:
            return _run(args)
        except BaseException as error:
            # An interrupted import may well come out as an ImportError.
            if not isinstance(error, KeyboardInterrupt) and not interrupts.lost:
                raise
            print("pitviper: interrupted; what was written is complete up to here", file=sys.stderr)
            return exits.TERMINATED if interrupts.received == signal.SIGTERM else exits.INTERRUPTED


def _replace_closed_streams() -> None:
    """What a caller has closed (``>&-``, some service managers) is None in Python; what goes there is let go."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115


def _run(args: argparse.Namespace) -> int:
    handler: logging.Handler | None = None
    try:
        handler = logs.set_up(args)
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.EPIPE or (number in _FULL and not isinstance(error, SdkError)):
            # The reader of stdout has left (`| head`), or its disk is full. Python would complain once more when
            # it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if number != errno.EPIPE:
                print(f"pitviper: stdout cannot be written: {error}; free some space", file=sys.stderr)
            return exits.FAILURE
        found = exits.exit_code(error)
        if found is None and isinstance(error, OSError) and error.filename is not None and not args.debug:
            print(
                f"pitviper: {error.filename}: {error.strerror}; check the path and its rights",
                file=sys.stderr,
            )
            return exits.FAILURE
        if found is None or args.debug:
            raise
        print(f"pitviper: {error}", file=sys.stderr)
        return found
    finally:
        if handler is not None:
            logging.getLogger("pitviper").removeHandler(handler)
            handler.close()
