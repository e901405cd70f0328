# SPDX-License-Identifier: Apache-2.0
"""``pitviper serve``: a live view in the browser."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pitviper.sdk.cli import camera, exits, options, serving, tracking
from pitviper.sdk.cli.signals import check
from pitviper.sdk.errors import InputError, MissingExtra, SinkError

if TYPE_CHECKING:
    from pitviper.sdk.sources import Source

__all__ = ["add_parser", "run"]


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
    serving.add_page_options(group)
    group.add_argument(
        "--record-dir", type=Path, metavar="DIR", help="allow recording into new folders in it"
    )
    group.add_argument("--loop", action="store_true", help="play a file again and again")
    options.add_reading_options(parser.add_argument_group("stream"))
    camera.add_options(parser)
    tracking.add_options(parser)
    parser.add_argument("--no-track", dest="track", action="store_false", help="do not follow targets")
    options.add_detector_options(parser, polarity=True)
    parser.set_defaults(run=run, track=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    token, hosts = serving.access(args)
    try:
        import uvicorn  # noqa: F401 - found missing here, before the model is loaded

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
        app = make_app(view, token=token, hosts=hosts, metrics=metrics)
        with serving.listening(app, args) as serve:
            view.start()
            try:
                # Viewers wait for results for as long as there may be some, and the server would wait for the viewers.
                serve(view.leave)
            finally:
                view.stop()
    check()
    return exits.OK


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


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"--record-dir {folder} cannot be made: {error}") from error
