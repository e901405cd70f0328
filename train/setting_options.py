# SPDX-License-Identifier: Apache-2.0
"""A recipe's settings as options of the command line."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

from pitviper.train.config import TrainingConfig
from pitviper.train.point_config import SemanticPriorsConfig

_REPEATED = {
    "data": ("FOLDER", "data set folder"),
    "upright": ("NAME", "data set, by the name of its folder, whose crops are never turned or mirrored"),
    "missed": ("PACKAGE", "model; frames whose targets it misses come more often"),
    "mine": ("PACKAGE", "model whose false alarms on target-free frames get crops"),
}


def add_settings(parser: argparse.ArgumentParser, config: type[TrainingConfig]) -> None:
    """One option per plain field of the config; nested ones come from --config."""
    kinds: dict[str, Any] = {"int": int, "float": float, "str": str}
    for entry in fields(config):
        option = "--" + entry.name.replace("_", "-")
        if entry.name in _REPEATED:
            metavar, what = _REPEATED[entry.name]
            parser.add_argument(option, action="append", metavar=metavar, help=f"{what}; repeatable")
        elif entry.name == "crops":
            what = "side in pixels, or sides up to shares of the run: 0.5:128,1:256"
            parser.add_argument(option, type=_crops, metavar="SIDE", help=what)
        elif entry.name == "levels":
            every = issubclass(config, SemanticPriorsConfig)
            what = "all blocks" if every else "four equally spaced"
            parser.add_argument(option, type=_levels, metavar="N,N,...", help=f"default: {what}")
        elif entry.type in kinds:
            kind, default = kinds[str(entry.type)], "none" if entry.default == "" else entry.default
            parser.add_argument(option, type=kind, metavar=str(entry.type).upper(), help=f"default {default}")


def _levels(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"levels are block numbers such as 3,6,9,12, got {text!r}"
        ) from error


def _crops(text: str) -> tuple[tuple[float, int], ...]:
    try:
        if ":" not in text:
            return ((1.0, int(text)),)
        pairs = (part.split(":") for part in text.split(","))
        return tuple((float(share), int(side)) for share, side in pairs)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"crops are a side such as 128, or SHARE:SIDE such as 0.5:128,1:256, got {text!r}"
        ) from error
