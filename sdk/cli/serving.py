# SPDX-License-Identifier: Apache-2.0
"""A web page of a command: where it listens, who may see it, and how it ends."""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from pitviper.sdk.errors import InputError

__all__ = ["access", "add_page_options", "listening"]

_TOKEN_VARIABLE: Final = "PITVIPER_TOKEN"
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")
_SHUTDOWN_S: Final = 2


def add_page_options(group: argparse._ArgumentGroup) -> None:
    """``--host``, ``--port`` and ``--token``."""
    group.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="default: %(default)s, this machine only"
    )
    group.add_argument(
        "--port", type=int, default=8765, metavar="N", help="0 takes a free one (default: %(default)s)"
    )
    group.add_argument(
        "--token",
        metavar="TEXT",
        help=f"ask for it; needed with any other --host. Better in the variable {_TOKEN_VARIABLE}, which "
        "no other user of this machine sees",
    )


def access(args: argparse.Namespace) -> tuple[str | None, tuple[str, ...]]:
    """The token, and the names under which the page is served: this machine's own, or any (none) behind a token.

    Raises:
        InputError: It would be open to the network without a token, or the port cannot be.
    """
    token = args.token if args.token is not None else os.environ.get(_TOKEN_VARIABLE)
    if not 0 <= args.port <= 65535:
        raise InputError(f"--port must be in 0 to 65535, got {args.port}")
    if args.host in _LOCAL or _is_loopback(args.host):
        return token or None, (*_LOCAL, args.host)
    if not token:
        raise InputError(
            f"--host {args.host} lets others in: set a token with --token TEXT or the variable {_TOKEN_VARIABLE}"
        )
    return token, ()


@contextmanager
def listening(app: Any, args: argparse.Namespace) -> Iterator[Callable[[Callable[[], object]], None]]:
    """Listen and tell the address; gives a function that serves until Ctrl-C.

    That function takes what is called within the signal handler, before the server waits for its clients.

    Raises:
        InputError: The address cannot be listened on.
    """
    import uvicorn

    settings = uvicorn.Config(
        app,
        host=args.host,
        port=args.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        limit_concurrency=64,
    )
    with _bound(settings, args) as bound:
        # Before the address is told: who comes while the command starts waits, and is not refused.
        bound.listen(settings.backlog)
        shown = f"[{args.host}]" if ":" in args.host else args.host
        print(f"http://{shown}:{bound.getsockname()[1]}/", file=sys.stderr, flush=True)

        def serve(leave: Callable[[], object]) -> None:
            server: Any = uvicorn.Server(settings)
            asked_to_exit = server.handle_exit

            def handle_exit(number: int, frame: FrameType | None) -> None:
                leave()
                asked_to_exit(number, frame)

            server.handle_exit = handle_exit
            server.run(sockets=[bound])

        yield serve


def _bound(settings: Any, args: argparse.Namespace) -> Any:
    try:
        return settings.bind_socket()
    except SystemExit as error:
        raise InputError(
            f"{args.host}:{args.port} cannot be listened on; take another --port or --host"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
