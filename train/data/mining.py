# SPDX-License-Identifier: Apache-2.0
"""Hard negatives: where models see targets in frames that hold none, crops are placed as over targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pitviper.core.models import DetectorNetwork
from pitviper.kernels import extract_targets
from pitviper.train.data.store import StoredFrame
from pitviper.train.validate import predict_standardised

_AWAY_PX = 5.0


def mine_clutter(
    frames: Sequence[StoredFrame],
    networks: Sequence[DetectorNetwork],
    *,
    threshold: float,
    beside: bool = False,
) -> list[StoredFrame]:
    """The frames, those without targets with the ``clutter`` that the networks take for targets.

    A frame that comes several times is looked at once.

    Args:
        frames: Training frames; validation frames are not to be shown here.
        networks: In evaluation mode.
        threshold: Probability from which a pixel counts, in (0, 1): far below 0.5, so that doubts count as well.
        beside: Whether frames with targets get clutter too, where it lies away from them.
    """
    seen: dict[int, StoredFrame] = {}
    for frame in frames:
        if id(frame) not in seen:
            known = len(frame.targets) and not beside
            seen[id(frame)] = frame if known else _with_clutter(frame, networks, threshold)
    return [seen[id(frame)] for frame in frames]


def _with_clutter(frame: StoredFrame, networks: Sequence[DetectorNetwork], threshold: float) -> StoredFrame:
    centres = [
        extract_targets(predict_standardised(network, frame.image), threshold=threshold).xy[:, ::-1]
        for network in networks
    ]
    clutter = np.floor(np.concatenate(centres)).astype(np.int32)
    if len(frame.targets) and len(clutter):
        nearest = np.hypot(*(clutter[:, None] - frame.targets[None]).transpose(2, 0, 1)).min(axis=1)
        clutter = clutter[nearest > _AWAY_PX]
    return replace(frame, clutter=clutter)
