# SPDX-License-Identifier: Apache-2.0
"""``pitviper demo``: a synthetic scene with exact truth, detected, drawn and judged. Needs no data and no camera."""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.cli import exits, options
from pitviper.sdk.cli.progress import ProgressLine
from pitviper.sdk.errors import InputError, SinkError

__all__ = ["add_parser", "run"]

_FPS = 30.0


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``demo``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "demo",
        help="detect in a synthetic scene and judge the result",
        description="Detect in a seeded synthetic infrared scene. Writes OUTDIR/demo.mp4, OUTDIR/demo.jsonl and "
        "OUTDIR/demo.json, and prints the share of targets found and the false alarms.",
    )
    parser.add_argument("outdir", metavar="OUTDIR")
    parser.add_argument("--frames", type=int, default=150, metavar="N", help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--size", type=options.size, default=(256, 320), metavar="WxH", help="default: 320x256"
    )
    parser.add_argument(
        "--clutter", default="terrain", help="sky, cloud, sea or terrain (default: %(default)s)"
    )
    options.add_detector_options(parser)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the scene through the detector and print what was found against its truth."""
    from pitviper.core.metrics import DetectionMetrics
    from pitviper.core.synthetic import Scene, SceneConfig
    from pitviper.sdk.sinks import open_sinks

    try:
        scene = Scene(
            SceneConfig(
                width=args.size[1],
                height=args.size[0],
                frames=args.frames,
                seed=args.seed,
                clutter=args.clutter,
                fps=_FPS,
            )
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    folder = Path(args.outdir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{folder} cannot be made: {error}") from error
    truth: deque[NDArray[np.bool_]] = deque()

    def frames() -> Iterator[NDArray[np.uint16]]:
        for view in scene:
            truth.append(view.mask)
            yield view.frame

    with options.make_detector(args) as detector:
        metrics = DetectionMetrics(curves=False, threshold=detector.threshold)
        sinks = open_sinks(video=folder / "demo.mp4", json=folder / "demo.jsonl", fps=_FPS)
        with (
            detector.stream(frames(), mode="all", sinks=sinks) as stream,
            ProgressLine(args.frames) as progress,
        ):
            for found in stream:
                metrics.update(found.score_map, truth.popleft())
                progress.step(f"{len(found)} targets")
        result, stats = metrics.compute(), stream.stats
        summary = {
            "model": detector.manifest.name,
            "engine": detector.engine_info.to_dict(),
            "scene": {"frames": args.frames, "seed": args.seed, "clutter": args.clutter},
            "metrics": result.to_dict(),
            "stream": stats.to_dict(),
        }
    options.write_json(str(folder / "demo.json"), summary)
    height, width = args.size
    share = "none in the scene" if result.pd is None else f"{100 * result.pd:.1f} %"
    print(f"scene               {args.clutter}, {args.frames} frames of {width}x{height}, seed {args.seed}")
    print(f"targets found (Pd)  {share} ({result.found} of {result.targets})")
    print(f"false alarms        {result.false_objects_per_frame:.3f} objects per frame")
    print(f"false-alarm pixels  {result.fa_per_mpix:.1f} per million")
    print(f"time per frame      {stats.stages['total_ms'].median:.1f} ms (median, detector only)")
    print(f"written             {folder / 'demo.mp4'}, demo.jsonl, demo.json")
    return exits.OK
