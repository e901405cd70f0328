# SPDX-License-Identifier: Apache-2.0
"""Which frames without clicks are worth training with: those in which every detection is decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pitviper.core.points import Points
from pitviper.core.spacing import evenly_spaced
from pitviper.sdk.adapting.looking import Looked
from pitviper.sdk.adapting.trust import Believed, Trajectory

__all__ = ["choose_frames", "points_at"]


def choose_frames(
    looked: Looked, beliefs: Mapping[int, Believed], clicks: Mapping[int, Points], *, limit: int
) -> list[int]:
    """Frames whose targets the believed tracks tell, spread over the stream, in order.

    A frame with a click is none of them, since its clicks say all of it. Neither is one with a detection that is on no
    confirmed track, or on one of which nothing is known: as background it might be a target that is unlearned. Up to
    half of the chosen are frames in which a believed track was not detected, where there is most to learn.

    Args:
        looked: The stream.
        beliefs: By id of the track.
        clicks: By frame.
        limit: Largest number.
    """
    believed = [each for each in looked.trajectories if beliefs[each.id] in ("clicked", "moving")]
    decided = [
        frame
        for frame, tracks in looked.tracks.items()
        if frame not in clicks and all(t >= 0 and beliefs[int(t)] != "unknown" for t in tracks)
    ]
    seen: list[int] = []
    missed: list[int] = []
    for frame in decided:
        present = [each for each in believed if each.at(frame) is not None]
        if present:
            lost = any(not each.detected_at(frame) for each in present)
            (missed if lost else seen).append(frame)
    chosen = evenly_spaced(missed, max(limit // 2, limit - len(seen)))
    return sorted(chosen + evenly_spaced(seen, limit - len(chosen)))


def points_at(believed: Sequence[Trajectory], frame: int, shape: tuple[int, int]) -> Points:
    """Pixels (row, column) [N, 2] of believed tracks in a frame of this shape, each once."""
    places = [at for each in believed if (at := each.at(frame)) is not None]
    pixels = np.floor(np.array(places).reshape(-1, 2)[:, ::-1]).astype(np.int32)
    return np.unique(np.clip(pixels, 0, np.array(shape) - 1), axis=0).astype(np.int32)
