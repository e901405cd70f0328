# SPDX-License-Identifier: Apache-2.0
"""Options that say where a threshold comes from: a probability, a budget of false alarms, a calibration."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from pitviper.sdk.errors import InputError

if TYPE_CHECKING:
    from pitviper.sdk.fa_budget import FaBudget, Threshold

__all__ = ["add_budget_options", "add_threshold_options", "chosen_budget", "chosen_threshold"]


def add_threshold_options(group: Any) -> None:
    """``--threshold``, the budget and ``--calibration``."""
    group.add_argument(
        "--threshold",
        "--conf",
        type=float,
        metavar="P",
        help="probability that a pixel has to exceed (default: the model's operating point)",
    )
    add_budget_options(group)
    group.add_argument(
        "--calibration",
        metavar="F",
        help="file of `pitviper calibrate`: its threshold, or with --fa-per-... the one for that budget",
    )


def add_budget_options(group: Any) -> None:
    """The budget of false alarms."""
    group.add_argument(
        "--fa-per-frame", type=float, metavar="R", help="most false objects per frame, instead of --threshold"
    )
    group.add_argument(
        "--fa-per-hour", type=float, metavar="R", help="the same per hour; needs frames per second"
    )
    group.add_argument(
        "--fa-fps", type=float, metavar="F", help="frames per second for --fa-per-hour, where not known"
    )


def chosen_budget(args: argparse.Namespace, calibration: str | None = None) -> FaBudget | None:
    """The budget, or None.

    Raises:
        InputError: A value out of range, or frames per second for nothing.
    """
    if args.fa_per_frame is None and args.fa_per_hour is None:
        if args.fa_fps is not None:
            raise InputError("--fa-fps belongs to --fa-per-hour; add that or leave it out")
        return None
    from pitviper.sdk.fa_budget import FaBudget

    return FaBudget(args.fa_per_frame, args.fa_per_hour, fps=args.fa_fps, calibration=calibration)


def chosen_threshold(args: argparse.Namespace) -> Threshold | None:
    """What the options say, for ``threshold=`` of a detector.

    Raises:
        InputError: A probability and a budget at once, or a value out of range.
    """
    budget = chosen_budget(args, args.calibration)
    if args.threshold is None:
        if budget is not None or args.calibration is None:
            return budget
        from pitviper.sdk.calibration import Calibration

        return Calibration.load(args.calibration)
    if budget is not None or args.calibration is not None:
        raise InputError("--threshold and a budget or calibration exclude each other; give one of them")
    probability: float = args.threshold
    return probability
