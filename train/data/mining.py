# SPDX-License-Identifier: Apache-2.0
"""Hard examples: what models take for targets where there is none, and the targets that they miss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pitviper.core.metrics.components import find_components
from pitviper.core.models import DetectorNetwork
from pitviper.kernels import extract_targets
from pitviper.train.data.store import StoredFrame
from pitviper.train.validate import predict_standardised

_AWAY_PX = 5.0
_NOWHERE = np.empty((0, 2), np.int32)


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


def repeat_missed(
    frames: Sequence[StoredFrame], networks: Sequence[DetectorNetwork], *, times: int
) -> list[StoredFrame]:
    """The frames, and ``times`` more of each that holds missed targets, with those alone to place crops over.

    A target is missed by a network that gives none of its pixels more than 0.5. A frame that comes several times is
    looked at once. Masks stay whole: only the places of crops change.

    Args:
        frames: Training frames with masks.
        networks: In evaluation mode.
        times: At least 1.
    """
    looked_at = {id(frame): frame for frame in frames if len(frame.targets)}
    missed = [(frame, _missed(frame, networks)) for frame in looked_at.values()]
    again = [replace(frame, targets=pixels, clutter=_NOWHERE) for frame, pixels in missed if len(pixels)]
    return [*frames, *again * times]


def _missed(frame: StoredFrame, networks: Sequence[DetectorNetwork]) -> NDArray[np.int32]:
    """(row, column) of the pixels of the targets that any network misses."""
    targets = find_components(frame.mask > 0.5)
    peaks = [targets.peaks(predict_standardised(network, frame.image)) for network in networks]
    return np.argwhere(targets.mask(np.min(peaks, axis=0) <= 0.5)).astype(np.int32)
