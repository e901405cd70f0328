# SPDX-License-Identifier: Apache-2.0
"""``pitviper serve``: a live view in the browser."""

from __future__ import annotations

import argparse
import ipaddress
import os
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from pitviper.sdk.cli import camera, exits, options, tracking
from pitviper.sdk.cli.signals import check
from pitviper.sdk.errors import InputError, MissingExtra, SinkError

if TYPE_CHECKING:
    from pitviper.sdk.sources import Source
    from pitviper.sdk.web import LiveView

__all__ = ["add_parser", "run"]

TOKEN_VARIABLE: Final = "PITVIPER_TOKEN"
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")
_SHUTDOWN_S: Final = 2


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``serve``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "serve",
        help="watch a source in the browser",
        description="Show a source with its targets on a local web page, with plots, threshold, snapshots and "
        "recording. Files are played at their own pace. Needs the extra web; no internet.",
    )
    parser.add_argument("input", metavar="SOURCE", help="as in detect")
    group = parser.add_argument_group("page")
    group.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="default: %(default)s, this machine only"
    )
    group.add_argument(
        "--port", type=int, default=8765, metavar="N", help="0 takes a free one (default: %(default)s)"
    )
    group.add_argument(
        "--token",
        metavar="TEXT",
        help=f"ask for it; needed with any other --host. Better in the variable {TOKEN_VARIABLE}, which "
        "no other user of this machine sees",
    )
    group.add_argument(
        "--record-dir", type=Path, metavar="DIR", help="allow recording into new folders in it"
    )
    group.add_argument("--loop", action="store_true", help="play a file again and again")
    options.add_reading_options(parser.add_argument_group("stream"))
    camera.add_options(parser)
    tracking.add_options(parser)
    parser.add_argument("--no-track", dest="track", action="store_false", help="do not follow targets")
    options.add_detector_options(parser)
    parser.set_defaults(run=run, track=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    token = args.token if args.token is not None else os.environ.get(TOKEN_VARIABLE)
    hosts = _allowed_hosts(args.host, token)
    if not 0 <= args.port <= 65535:
        raise InputError(f"--port must be in 0 to 65535, got {args.port}")
    try:
        import uvicorn

        from pitviper.sdk.sinks import Metrics
        from pitviper.sdk.web import LiveView, make_app

        metrics = Metrics()
    except ImportError as error:
        raise MissingExtra(
            f"serve needs starlette, uvicorn and prometheus-client ({error}); pip install 'pitviper[web]'"
        ) from error
    tracker = tracking.make_tracker(args)
    with options.make_detector(args) as detector:
        source = _open(args)
        try:
            monitor = camera.make_monitor(args, source)
            if args.record_dir is not None:
                _make_folder(args.record_dir)
        except BaseException:
            source.close()
            raise
        view = LiveView(
            source,
            detector,
            recordings=args.record_dir,
            timeout_s=args.timeout,
            monitor=monitor,
            tracker=tracker,
            sinks=[metrics],
        )
        metrics.watch(view.pipeline, detector=detector, monitor=monitor, tracker=tracker)
        settings = uvicorn.Config(
            make_app(view, token=token or None, hosts=hosts, metrics=metrics),
            host=args.host,
            port=args.port,
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_SHUTDOWN_S,
            limit_concurrency=64,
        )
        with _listening(settings, args) as listening:
            # Before the address is told: who comes while the stream starts waits, and is not refused.
            listening.listen(settings.backlog)
            shown = f"[{args.host}]" if ":" in args.host else args.host
            print(f"http://{shown}:{listening.getsockname()[1]}/", file=sys.stderr, flush=True)
            view.start()
            try:
                _serve(uvicorn.Server(settings), listening, view)
            finally:
                view.stop()
    check()
    return exits.OK


def _listening(settings: Any, args: argparse.Namespace) -> Any:
    try:
        return settings.bind_socket()
    except SystemExit as error:
        raise InputError(
            f"{args.host}:{args.port} cannot be listened on; take another --port or --host"
        ) from error


def _serve(server: Any, listening: Any, view: LiveView) -> None:
    asked_to_exit = server.handle_exit

    def handle_exit(number: int, frame: FrameType | None) -> None:
        # Viewers wait for results for as long as there may be some, and the server would wait for the viewers.
        view.leave()
        asked_to_exit(number, frame)

    server.handle_exit = handle_exit
    server.run(sockets=[listening])


def _open(args: argparse.Namespace) -> Source:
    """The source; what is no camera is played like one."""
    from pitviper.sdk.reconnect import open_reconnecting
    from pitviper.sdk.web.pacing import PlayedSource

    def opened() -> Source:
        return open_reconnecting(
            args.input,
            True,
            timeout_s=args.timeout,
            options=dict(args.source_option),
            camera=args.camera,
        )

    source = opened()
    if source.info.live:
        if args.loop:
            source.close()
            raise InputError(f"--loop is for files; {source.info.name} is live")
        return source
    source.close()
    return PlayedSource(opened, loop=args.loop, fps=args.fps)


def _allowed_hosts(host: str, token: str | None) -> tuple[str, ...]:
    """Names under which the page is served: this machine's own, or any where a token keeps strangers out.

    Raises:
        InputError: It would be open to the network without a token.
    """
    if host in _LOCAL or _is_loopback(host):
        return (*_LOCAL, host)
    if not token:
        raise InputError(
            f"--host {host} lets others in: set a token with --token TEXT or the variable {TOKEN_VARIABLE}"
        )
    return ()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"--record-dir {folder} cannot be made: {error}") from error
