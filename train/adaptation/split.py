# SPDX-License-Identifier: Apache-2.0
"""Clicked frames that teach and clicked frames that judge, apart in time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

_BLOCKS = 4


@dataclass(frozen=True)
class Split:
    """Names of frames, in the order of the stream.

    Attributes:
        teach: Clicked frames to train with.
        judge: Clicked frames that are never trained with.
        tracked: Frames with points of tracks to train with.
        left_out: Frames that are neither, since they are too near to one that judges.
    """

    teach: tuple[str, ...]
    judge: tuple[str, ...]
    tracked: tuple[str, ...]
    left_out: tuple[str, ...]


def split_by_time(
    clicked: Iterable[str], tracked: Iterable[str], number: Mapping[str, int], *, apart: int
) -> Split:
    """Cut the clicked frames into four blocks in the order of time, of which the second and the fourth judge.

    Neighbouring frames of a stream are nearly one picture, so that a draw frame by frame would judge by what was
    trained with. No frame is trained with that lies nearer than ``apart`` frames to one that judges, or, of the frames
    with tracks, between two that judge side by side.

    Args:
        clicked: Names of clicked frames.
        tracked: Names of others.
        number: Of each frame in the stream.
        apart: Frames; 1 where frames are not those of a stream.
    """
    ordered = sorted(clicked, key=lambda name: number[name])
    blocks = [list(block) for block in np.array_split(np.array(ordered, dtype=object), _BLOCKS)]
    judging = [block for block in blocks[1::2] if block]
    spans = [(number[block[0]] - apart, number[block[-1]] + apart) for block in judging]

    def free(name: str) -> bool:
        return not any(low < number[name] < high for low, high in spans)

    teaching = [name for block in blocks[0::2] for name in block]
    followed = sorted(tracked, key=lambda name: number[name])
    return Split(
        teach=tuple(filter(free, teaching)),
        judge=tuple(name for block in judging for name in block),
        tracked=tuple(filter(free, followed)),
        left_out=tuple(name for name in (*teaching, *followed) if not free(name)),
    )
