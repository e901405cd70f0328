# SPDX-License-Identifier: Apache-2.0
"""Logging options of the command line. Logs go to stderr or to a file, never to stdout, which is data."""

from __future__ import annotations

import argparse
import logging
import sys

from pitviper.sdk.errors import SinkError

__all__ = ["add_options", "set_up"]

_LEVELS = ("debug", "info", "warning", "error")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every subcommand has."""
    group = parser.add_argument_group("logging (to stderr)")
    group.add_argument("--log-level", choices=_LEVELS, default="warning", help="default: %(default)s")
    group.add_argument("-v", "--verbose", action="store_true", help="the same as --log-level info")
    group.add_argument("--debug", action="store_true", help="the same as --log-level debug, with tracebacks")
    group.add_argument("--log-file", metavar="FILE", help="append the log to a file instead")


def set_up(args: argparse.Namespace) -> logging.Handler:
    """Attach a handler to the library's logger; the caller removes it.

    Raises:
        SinkError: The log file cannot be opened.
    """
    level = "debug" if args.debug else "info" if args.verbose else args.log_level
    try:
        handler = (
            logging.FileHandler(args.log_file, encoding="utf-8")
            if args.log_file
            else logging.StreamHandler(sys.stderr)
        )
    except OSError as error:
        raise SinkError(f"log file {args.log_file} cannot be opened: {error}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("pitviper")
    logger.setLevel(level.upper())
    logger.addHandler(handler)
    return handler
