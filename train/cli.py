# SPDX-License-Identifier: Apache-2.0
"""``pitviper-train``: run a recipe, and make a weights package from a finished run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pitviper.train.adaptation.command import add_adapt
from pitviper.train.config import FDEPConfig, PriorConfig, SupervisedConfig, TrainingConfig
from pitviper.train.point_config import (
    LESPSConfig,
    PALConfig,
    PointConfig,
    SemanticPriorsConfig,
    SPReferenceConfig,
)
from pitviper.train.setting_options import add_settings

if TYPE_CHECKING:
    from pitviper.train.hardware import Hardware

_FAILURE, _INTERRUPTED = 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code (0, 1 failure, 2 usage, 6 refused adaptation, 130 interrupted)."""
    options = _parser().parse_args(arguments)
    try:
        result: int = options.run(options)
    except KeyboardInterrupt:
        resumable = "; go on with the same command and --resume" if hasattr(options, "resume") else ""
        print(f"interrupted{resumable}", file=sys.stderr)
        return _INTERRUPTED
    except (ValueError, OSError, FloatingPointError, ImportError) as error:
        print(f"pitviper-train: {error}", file=sys.stderr)
        return _FAILURE
    except RuntimeError as error:
        # By name: most commands never import torch.
        if type(error).__name__ != "OutOfMemoryError":
            raise
        advice = "give --accumulate N, a smaller --batch or smaller --crops"
        print(f"pitviper-train: the device's memory is full ({error}); {advice}", file=sys.stderr)
        return _FAILURE
    return result


class _WholeOptions(argparse.ArgumentParser):
    """Takes no shortened options: ``--crops 128`` is none of ours, and must not become ``--crops-per-frame 128``."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pitviper-train", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_WholeOptions)
    supervised = commands.add_parser("supervised", help="full supervision from masks")
    _add_recipe(supervised, SupervisedConfig)
    _add_no_package(supervised)
    supervised.set_defaults(run=_supervised)
    fdep = commands.add_parser("fdep", help="full supervision with a frozen foundation model in training")
    _add_recipe(fdep, FDEPConfig)
    _add_foundation(fdep, "keep its features there (whole frames, not augmented)")
    _add_no_package(fdep)
    fdep.set_defaults(run=_fdep)
    _add_point_recipes(commands)
    add_adapt(commands)
    prior = commands.add_parser("prior", help="a foundation model for fdep, from unlabelled frames")
    _add_recipe(prior, PriorConfig)
    prior.add_argument(
        "--download", action="store_true", help="allow fetching the model to adapt from the hub"
    )
    prior.set_defaults(run=_prior)
    package = commands.add_parser(
        "package", help="weights package (ONNX, safetensors, manifest) from a finished run"
    )
    package.add_argument("folder", type=Path, help="run folder")
    package.add_argument("output", type=Path, help="package folder or .zip")
    package.add_argument(
        "--weights", choices=("best", "last"), default="best", help="best on val, or last epoch"
    )
    _add_moved(package)
    package.add_argument("--licence", default="not stated", help="licence of the weights")
    package.add_argument("--provenance", default="not stated", help="where the training data comes from")
    package.add_argument("--commit", default="not stated", help="commit of the code that trained the run")
    package.set_defaults(run=_package)
    average = commands.add_parser(
        "average", help="between a finished run's weights and those it started from"
    )
    average.add_argument("folder", type=Path, help="run folder of a run with --init")
    average.add_argument("start", type=Path, help="what was given to --init")
    average.add_argument("--out", type=Path, required=True, help="new run folder")
    average.add_argument("--share", type=float, default=0.5, help="share of the run, in [0, 1] (default 0.5)")
    average.add_argument(
        "--weights", choices=("best", "last"), default="last", help="of the run: best on val, or last epoch"
    )
    average.set_defaults(run=_average)
    report = commands.add_parser("report", help="HTML report of a finished run on its val splits")
    report.add_argument("folder", type=Path, help="run folder")
    report.add_argument("output", type=Path, help="folder for report.html and its pictures")
    report.add_argument(
        "--weights", choices=("best", "last"), default="best", help="best on val, or last epoch"
    )
    report.add_argument(
        "--branch",
        choices=("light", "main", "both"),
        default="light",
        help="of an fdep run; main and both with --weights last",
    )
    _add_moved(report)
    report.set_defaults(run=_report)
    return parser


def _add_point_recipes(commands: argparse._SubParsersAction[_WholeOptions]) -> None:
    for config, what in (
        (PALConfig, "from points: labels evolve, hard frames are admitted as they are learned"),
        (LESPSConfig, "from points, for comparison: labels grow from the points"),
        (SemanticPriorsConfig, "from points, with a frozen foundation model in training"),
        (SPReferenceConfig, "semantic_priors as its published code has it, for comparison"),
    ):
        parser = commands.add_parser(config.recipe, help=what)
        _add_recipe(parser, config)
        if issubclass(config, SemanticPriorsConfig):
            _add_foundation(parser, "keep its features of whole frames there, for the updates of the labels")
        _add_no_package(parser)
        parser.set_defaults(run=_points)
    tune = commands.add_parser(
        "tune", help="a search of the settings by which semantic_priors weighs clusters, in short runs"
    )
    _add_recipe(tune, SemanticPriorsConfig)
    _add_foundation(tune, "keep its features of whole frames there, for all runs")
    tune.add_argument("--runs", type=int, default=12, metavar="N", help="all runs together (default 12)")
    tune.add_argument(
        "--repeats",
        type=int,
        default=3,
        metavar="N",
        help="seeds of the defaults and of the choice (default 3)",
    )
    tune.set_defaults(run=_tune)


def _add_recipe(parser: argparse.ArgumentParser, config: type[TrainingConfig]) -> None:
    parser.add_argument("--out", type=Path, required=True, help="run folder")
    parser.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        choices=("auto",),
        help="go on with the run in --out; auto: if there is one, else start one",
    )
    parser.add_argument("--config", type=Path, help="JSON file of settings; options override it")
    add_settings(parser, config)
    parser.add_argument("--accelerator", default="auto", help="cpu, cuda, auto (default)")
    parser.add_argument("--devices", default="auto", help="number of processes or devices on each node")
    parser.add_argument(
        "--nodes", type=int, default=0, help="number of machines (1, or what torchrun started)"
    )
    parser.add_argument(
        "--precision",
        default="bf16-mixed",
        help="32-true, bf16-mixed (default), 16-mixed; the weights are float32 in each",
    )
    parser.add_argument("--threads", type=int, default=0, help="CPU threads per process (0: torch decides)")
    parser.add_argument("--workers", type=int, default=0, help="loader processes per process")
    parser.add_argument(
        "--sync-batchnorm", action="store_true", help="batch statistics over all processes (GPUs only)"
    )
    parser.add_argument(
        "--compile", action="store_true", help="fuse the step with torch.compile (supervised, prior)"
    )
    parser.set_defaults(config_type=config)


def _add_foundation(parser: argparse.ArgumentParser, cache: str) -> None:
    what = "allow fetching the foundation model from the hub"
    parser.add_argument("--download", action="store_true", help=what)
    parser.add_argument("--vfm-cache", type=Path, metavar="FOLDER", help=cache)
    parser.add_argument(
        "--vfm-cache-gib", type=float, default=20.0, metavar="GIB", help="largest size of it (default 20)"
    )


def _add_moved(parser: argparse.ArgumentParser) -> None:
    what = "where a data set of the run lies now, if it was moved; repeatable"
    parser.add_argument("--data", action="append", default=[], metavar="FOLDER", help=what)


def _add_no_package(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-package", action="store_true", help="do not make OUT/package at the end")


def read_config(options: argparse.Namespace) -> TrainingConfig:
    """Settings from --config, overridden by the options that were given."""
    config: TrainingConfig = options.config_type.from_dict(_given(options))
    return config


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """Settings that somebody asked for."""
    values: dict[str, Any] = {}
    if options.config:
        try:
            values = json.loads(options.config.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{options.config}: not valid JSON ({error})") from error
        if not isinstance(values, dict):
            raise ValueError(f'{options.config}: settings by name are needed, such as {{"epochs": 90}}')
    given = {f.name: getattr(options, f.name, None) for f in fields(options.config_type)}
    return values | {k: v for k, v in given.items() if v is not None}


def _supervised(options: argparse.Namespace) -> int:
    from pitviper.train.run import train_supervised

    config = read_config(options)
    assert isinstance(config, SupervisedConfig)
    train_supervised(config, options.out, hardware=_hardware(options), resume=options.resume)
    return _end(options)


def _fdep(options: argparse.Namespace) -> int:
    from pitviper.train.run import train_fdep

    config = read_config(options)
    assert isinstance(config, FDEPConfig)
    train_fdep(
        config, options.out, hardware=_hardware(options), resume=options.resume, **_foundation(options)
    )
    return _end(options)


def _foundation(options: argparse.Namespace) -> dict[str, Any]:
    """What a recipe with a foundation model gets beside its settings; nothing for one without."""
    from pitviper.train.foundation import FeatureCache

    if not hasattr(options, "vfm_cache"):
        return {}
    cache = FeatureCache(options.vfm_cache, options.vfm_cache_gib) if options.vfm_cache else None
    return {"download": options.download, "cache": cache}


def _points(options: argparse.Namespace) -> int:
    from pitviper.train.few_frames import suit_few_frames
    from pitviper.train.run import train_points

    given = _given(options)
    config = options.config_type.from_dict(given)
    assert isinstance(config, PointConfig)
    config = suit_few_frames(config, given)
    hardware = _hardware(options)
    train_points(config, options.out, hardware=hardware, resume=options.resume, **_foundation(options))
    return _end(options)


def _tune(options: argparse.Namespace) -> int:
    from pitviper.train.few_frames import suit_few_frames
    from pitviper.train.search import Budget, search_reweighting

    given = _given(options)
    config = suit_few_frames(SemanticPriorsConfig.from_dict(given), given)
    assert isinstance(config, SemanticPriorsConfig)
    budget, hardware = Budget(options.runs, options.repeats), _hardware(options)
    found = search_reweighting(
        config, options.out, budget=budget, hardware=hardware, resume=options.resume, **_foundation(options)
    )
    print(found)
    return 0


def _end(options: argparse.Namespace) -> int:
    """The first process packages the finished run and prints its folder."""
    from pitviper.train.processes import speaks_for_all

    if not speaks_for_all():
        return 0
    if not options.no_package:
        from pitviper.train.package import package_finished

        try:
            path = package_finished(options.out).path
        except ImportError as error:
            print(f"no package was made ({error}); make it with pitviper-train package", file=sys.stderr)
        else:
            print(f"package {path}; try pitviper detect FRAMES --model {path}", file=sys.stderr)
    print(options.out)
    return 0


def _prior(options: argparse.Namespace) -> int:
    from pitviper.train.prior import train_prior
    from pitviper.train.processes import speaks_for_all

    config = read_config(options)
    assert isinstance(config, PriorConfig)
    made = train_prior(
        config,
        options.out,
        hardware=_hardware(options),
        resume=options.resume,
        download=options.download,
    )
    if speaks_for_all():
        print(made)
    return 0


def _hardware(options: argparse.Namespace) -> Hardware:
    from pitviper.train.hardware import Hardware

    return Hardware(
        options.accelerator,
        options.devices,
        options.precision,
        options.threads,
        options.workers,
        options.nodes,
        options.sync_batchnorm,
        options.compile,
    )


def _average(options: argparse.Namespace) -> int:
    from pitviper.train.average import average_with_start

    folder, start, out = options.folder, options.start, options.out
    print(average_with_start(folder, start, out, share=options.share, which=options.weights))
    return 0


def _package(options: argparse.Namespace) -> int:
    from pitviper.train.package import package_run

    package = package_run(
        options.folder,
        options.output,
        which=options.weights,
        licence=options.licence,
        provenance=options.provenance,
        commit=options.commit,
        moved=options.data,
    )
    print(package.path)
    return 0


def _report(options: argparse.Namespace) -> int:
    from pitviper.train.report import report_run

    page = report_run(
        options.folder, options.output, which=options.weights, branch=options.branch, moved=options.data
    )
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
