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


def mine_clutter(
    frames: Sequence[StoredFrame], networks: Sequence[DetectorNetwork], *, threshold: float
) -> list[StoredFrame]:
    """The frames, those without targets with the ``clutter`` that the networks take for targets.

    A frame that comes several times is looked at once.

    Args:
        frames: Training frames; validation frames are not to be shown here.
        networks: In evaluation mode.
        threshold: Probability from which a pixel counts, in (0, 1): far below 0.5, so that doubts count as well.
    """
    seen: dict[int, StoredFrame] = {}
    for frame in frames:
        if id(frame) not in seen:
            seen[id(frame)] = frame if len(frame.targets) else _with_clutter(frame, networks, threshold)
    return [seen[id(frame)] for frame in frames]


def _with_clutter(frame: StoredFrame, networks: Sequence[DetectorNetwork], threshold: float) -> StoredFrame:
    centres = [
        extract_targets(predict_standardised(network, frame.image), threshold=threshold).xy[:, ::-1]
        for network in networks
    ]
    return replace(frame, clutter=np.floor(np.concatenate(centres)).astype(np.int32))
