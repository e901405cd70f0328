# SPDX-License-Identifier: Apache-2.0
"""What a run says of its data before it starts: what a newcomer may not expect of the own masks and lists."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

import numpy as np

from pitviper.core.datasets import Dataset, drawn_remark, no_target_remark
from pitviper.core.images import ColourError, read_frame
from pitviper.train.data.registration import mask_offsets, offset_remark
from pitviper.train.data.store import StoredFrame

_LARGE_SHARE = 0.1
_LOOKED_AT = 8


def say(text: str) -> None:
    """One line for the person at the terminal."""
    print(text, file=sys.stderr, flush=True)


def say_data(
    frames: Sequence[StoredFrame],
    train_sets: Sequence[Dataset],
    held_out: Mapping[str, Sequence[StoredFrame]],
) -> None:
    """Numbers of frames, and a line for each data set whose masks or lists are not what they may seem."""
    with_targets = sum(len(frame.targets) > 0 for frame in frames)
    with_clutter = sum(len(frame.clutter) > 0 for frame in frames)
    say(
        f"{len(frames)} training frames, {with_targets} with targets"
        + (f", {with_clutter} with mined clutter" if with_clutter else "")
        + "; validation: "
        + (", ".join(f"{name} ({len(each)} frames)" for name, each in held_out.items()) or "none")
    )
    if not with_targets:
        say("no training mask holds a target, so all that can be learned is that there is none")
    for dataset in {each.name: each for each in train_sets}.values():
        _say_masks(dataset, [frame for frame in frames if frame.dataset == dataset.name])
        _say_colour(dataset)
        if dataset.drawn:
            say(drawn_remark(dataset))


def _say_masks(dataset: Dataset, frames: Sequence[StoredFrame]) -> None:
    shares = [len(frame.targets) / frame.mask.size for frame in frames if len(frame.targets)]
    if not shares and any(sample.mask for sample in dataset.samples):
        say(no_target_remark(dataset.name))
    elif shares and np.median(shares) > _LARGE_SHARE:
        say(
            f"{dataset.name}: its masks call {np.median(shares):.0%} of a frame target; targets are white on black, "
            "not the other way round"
        )


def _say_colour(dataset: Dataset) -> None:
    """Of colour pictures training takes the luma, and a detector only when told to; some frames tell for all."""
    for sample in dataset.samples[:: max(1, len(dataset.samples) // _LOOKED_AT)]:
        try:
            read_frame(sample.frame)
        except ColourError:
            say(
                f"{dataset.name}: pictures with unequal colour planes, {sample.frame.name} for one; training takes "
                "their luma, and detect does so with --source-option colour=luma; without it, it refuses them"
            )
            return


def say_offsets(frames: Sequence[StoredFrame], upright: Sequence[str]) -> None:
    """Masks beside their targets, where crops would be turned."""
    for dataset, offset in mask_offsets(frames).items():
        if offset.notable and dataset not in upright:
            say(offset_remark(dataset, offset))
