# SPDX-License-Identifier: Apache-2.0
"""Settings for a handful of labelled frames, of which one crop each would make an epoch of a step, or of none."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection
from dataclasses import replace
from typing import Any, TypeVar

from pitviper.train.data.splits import train_splits
from pitviper.train.point_config import PointConfig
from pitviper.train.points.source import count_point_frames
from pitviper.train.processes import speaks_for_all

Config = TypeVar("Config", bound=PointConfig)

_FEW = 100
_CROPS = 256
_EMA = 0.99


def suit_few_frames(config: Config, given: Collection[str]) -> Config:
    """The settings, changed where nobody gave them and fewer than 100 frames have labels; says what it changed.

    An epoch gets about 256 crops, other ones of the same frames. The averaged weights, which the labels follow,
    remember 100 steps instead of 1000: a short run would else end close to the random weights that it began with.

    Args:
        config: Of the run.
        given: Names of settings that were asked for; they stay.

    Raises:
        DatasetError: As in reading the data and the points.
    """
    roots = dict.fromkeys(config.data)
    count = count_point_frames(train_splits(roots, unmasked=config.unmasked), config.points)
    if not 0 < count < _FEW:
        return config
    wanted: dict[str, Any] = {
        "crops_per_frame": max(config.crops_per_frame, math.ceil(_CROPS / count)),
        "ema": min(config.ema, _EMA),
    }
    changes = {
        name: value for name, value in wanted.items() if name not in given and value != getattr(config, name)
    }
    if changes and speaks_for_all():
        told = " ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in changes.items())
        print(f"{count} frames with labels are few, so the run takes {told}", file=sys.stderr, flush=True)
    return replace(config, **changes)
