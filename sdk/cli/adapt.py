# SPDX-License-Identifier: Apache-2.0
"""``pitviper adapt``: a package that is better on one's own stream, from a recording and a handful of clicks."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pitviper.sdk.cli import exits, options
from pitviper.sdk.cli.progress import ProgressLine
from pitviper.sdk.errors import InputError, MissingExtra, ModelError, SinkError, SourceError

if TYPE_CHECKING:
    from pitviper.sdk.adapting import Gathered

__all__ = ["add_parser", "run"]

_NEEDED: Final = (
    "torch",
    "safetensors",
    "onnx",
    "onnxscript",
    "lightning_fabric",
    "tensorboard",
    "matplotlib",
)
# The training half runs in a process of its own: nothing of the SDK imports torch or the training code.
_PROGRAM: Final = "import sys; from pitviper.train.cli import main; sys.exit(main())"
_PATIENCE_S: Final = 30.0
_MATERIAL: Final = "work/material"


def add_parser(subparsers: Any) -> argparse.ArgumentParser:
    """Add ``adapt``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "adapt",
        help="adapt a model to your own stream, from a recording and clicks",
        description="Follow targets through a recorded stream, fine-tune the model on frames that you have clicked "
        "(pitviper label) and on frames with tracks that are believed, and judge it by clicks that were held out. "
        "Leaves DIR/report.html, and DIR/package unless the new weights are no better: then exit code 6. "
        "Needs the extra train; no internet.",
    )
    parser.add_argument(
        "input", metavar="SOURCE", help="a recording (replay://DIR), a video, or a folder of frames"
    )
    parser.add_argument("--points", required=True, type=Path, metavar="F.csv", help="clicks on frames of it")
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="for the report and the package"
    )
    parser.add_argument("--resume", action="store_true", help="go on with what was begun in DIR")
    parser.add_argument(
        "--keep-work", action="store_true", help="leave frames, labels and checkpoints in DIR/work"
    )
    group = parser.add_argument_group("stream")
    group.add_argument("--frames", type=int, metavar="N", help="look at the first N frames only")
    group.add_argument(
        "--fps", type=float, metavar="F", help="frames per second of a source without times, such as a folder"
    )
    group.add_argument(
        "--track-frames",
        type=int,
        default=120,
        metavar="N",
        help="most frames that are labelled by tracks alone; 0: by clicks alone (default: %(default)s)",
    )
    group = parser.add_argument_group("training")
    group.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="DIR",
        help="data set with masks: trained with, and guarded against forgetting; repeatable",
    )
    group.add_argument(
        "--steps", type=int, metavar="N", help="optimiser steps, in whole epochs (default: 300)"
    )
    group.add_argument("--lr", type=float, metavar="F", help="peak learning rate (default: 0.0005)")
    group.add_argument(
        "--tolerance",
        type=float,
        metavar="F",
        help="how far (IoU + Pd) / 2 of synthetic scenes and of the val splits of --data may fall (default: 0.03)",
    )
    group.add_argument("--seed", type=int, metavar="N", help="of everything that is drawn (default: 0)")
    group.add_argument(
        "--accelerator", metavar="NAME", help="cpu, cuda or auto, for the training (default: auto)"
    )
    options.add_detector_options(parser, threshold=False)
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Gather frames here, train in a process of its own, and pass its verdict on."""
    _require_training()
    _require_place(args.out, args.resume)
    _require_clicks(args.points)
    gathered, package = _gather(args)
    _say(gathered)
    words = ["adapt", str(gathered.folder), "--package", str(package), "--out", str(args.out)]
    for folder in args.data:
        words += ["--data", folder]
    for name in ("steps", "lr", "tolerance", "seed", "accelerator", "threads"):
        if getattr(args, name) is not None:
            words += [f"--{name}", str(getattr(args, name))]
    words += [f"--{name}" for name in ("resume", "keep-work") if getattr(args, name.replace("-", "_"))]
    code = _train(words)
    return exits.TERMINATED if code == -signal.SIGTERM else code if code >= 0 else exits.FAILURE


def _gather(args: argparse.Namespace) -> tuple[Gathered, Path]:
    from pitviper.core.manifest import WEIGHTS
    from pitviper.sdk.adapting import gather

    with options.make_detector(args, budgeted=False) as detector:
        package = detector.package
        if WEIGHTS not in package.manifest.files:
            raise ModelError(
                f"{package.path} holds no {WEIGHTS}, the weights in training form, so it cannot be adapted; adapt the "
                "package that it was exported from"
            )
        with ProgressLine(args.frames) as progress:
            gathered = gather(
                detector,
                args.input,
                args.points,
                args.out / _MATERIAL,
                fps=args.fps,
                frames=args.frames,
                track_frames=args.track_frames,
                step=progress.step,
            )
    return gathered, package.path


def _require_training() -> None:
    """Found missing here, before a recording is looked through."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"adapt trains, and {', '.join(missing)} is not installed; pip install 'pitviper[train]'"
        )


def _require_place(out: Path, resume: bool) -> None:
    if out.exists() and not out.is_dir():
        raise SinkError(f"{out} is a file; --out names a folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if (out / "report.json").exists():
        raise InputError(f"{out} holds an adaptation already; choose another --out")
    if not (out / "work").is_dir():
        raise InputError(f"{out} holds other files; choose another --out")
    if not resume:
        raise InputError(
            f"{out} holds an adaptation that was begun; go on with it by --resume, or choose another --out"
        )


def _require_clicks(path: Path) -> None:
    """So few clicks that they can judge nothing, wherever they fall, are told before the source is looked through."""
    from pitviper.core.material import LEAST_JUDGES
    from pitviper.core.points import read_table

    if not path.is_file():
        return  # `gather` says what to do then
    clicked = sum(len(points) > 0 for points in read_table(path).labels.values())
    if clicked < LEAST_JUDGES:
        raise SourceError(
            f"{path}: {clicked} clicked frames with points are too few: {LEAST_JUDGES} are needed to judge by alone. "
            f"Click at least {2 * LEAST_JUDGES} frames with points, spread over the whole stream"
        )


def _say(gathered: Gathered) -> None:
    facts = gathered.facts
    tracks = facts["tracks"]
    lines = [
        f"{facts['frames']} frames" + (", gathered before" if gathered.continued else ""),
        f"{facts['clicks']} clicks in {len(facts['clicked'])} frames",
        f"tracks{' of the recording' if facts['recorded_tracks'] else ''}: {tracks['clicked']} with clicks, "
        f"{tracks['moving']} believed since they move, {tracks['refuted']} refuted by clicks, "
        f"{tracks['unknown']} unknown",
        f"{len(facts['tracked'])} frames labelled by tracks alone",
    ]
    if facts["clicks_elsewhere"]:
        lines.append(f"{facts['clicks_elsewhere']} clicked frames are not in this source and are left out")
    print("; ".join(lines), file=sys.stderr, flush=True)


def _train(words: list[str]) -> int:
    """Run the training half; whatever ends this process ends that one, which keeps its last checkpoint."""
    # The folder that one happens to be in must not hide installed packages.
    env = {**os.environ, "PYTHONSAFEPATH": "1"}
    sys.stdout.flush()
    with subprocess.Popen([sys.executable, "-c", _PROGRAM, *words], env=env) as process:
        try:
            return process.wait()
        except BaseException:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
