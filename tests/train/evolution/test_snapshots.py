# SPDX-License-Identifier: Apache-2.0
"""The sheet of labels over a run: which frames, what of them, and a state that comes back."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

from pitviper.train.evolution.pools import LabelPools, PoolRule
from pitviper.train.evolution.snapshots import Snapshots
from pitviper.train.points.source import PointFrame

MakeFrame = Callable[..., PointFrame]


def test_half_of_the_frames_are_hard_ones(spot_frame: MakeFrame) -> None:
    easy = [spot_frame(f"s/easy{i}", amplitude=100) for i in range(9)]
    hard = [spot_frame(f"s/hard{i}", amplitude=20) for i in range(2)]
    empty = [spot_frame("s/empty", amplitude=20, points=())]
    names = [each.frame.name for each in Snapshots([*empty, *easy, *hard], count=6).frames]
    assert names == ["s/easy0", "s/easy3", "s/easy5", "s/easy8", "s/hard0", "s/hard1"]
    assert [each.frame.name for each in Snapshots(easy[:1] + empty).frames] == ["s/easy0"]


def test_waiting_frames_stay_empty_until_they_are_admitted(spot_frame: MakeFrame) -> None:
    frames = [spot_frame("s/easy", amplitude=100), spot_frame("s/hard", amplitude=20)]
    pools, snapshots = LabelPools(frames, PoolRule()), Snapshots(frames)
    snapshots.take(0, pools)
    pools.mine(lambda image: np.zeros(image.shape, np.float32), allowed_misses=1.0)
    snapshots.take(4, pools)
    first, second = snapshots.labels
    assert first[0].max() == 1
    assert (first[1] == -1).all()
    assert second[1].max() == 1
    assert second[1].min() == 0
    again = Snapshots(frames)
    again.load_state_dict({k: v.clone() for k, v in snapshots.state_dict().items()})
    assert again.to_png() == snapshots.to_png()
    assert again.epochs == [0, 4]
    again.load_state_dict({})
    assert again.state_dict() == {}


def test_the_sheet_shows_labels_and_truth(spot_frame: MakeFrame) -> None:
    frames = [spot_frame("s/easy", amplitude=100)]
    pools, snapshots = LabelPools(frames, PoolRule()), Snapshots(frames)
    for epoch in range(20):
        snapshots.take(epoch, pools)
    sheet = snapshots.draw(columns=5)
    assert sheet.width == 10 + 5 * 170
    colours = {colour for _, colour in sheet.getcolors(1 << 20)}
    assert {(0, 214, 92), (255, 120, 20)} <= colours


def test_the_moving_picture_shows_every_update(spot_frame: MakeFrame) -> None:
    frames = [
        spot_frame("a-data-set-with-a-long-name/easy", amplitude=100),
        spot_frame("s/hard", amplitude=20),
    ]
    pools, snapshots = LabelPools(frames, PoolRule()), Snapshots(frames)
    snapshots.take(0, pools)
    for epoch in (10, 11, 20):
        pools.mine(lambda image: np.zeros(image.shape, np.float32), allowed_misses=1.0)
        pools.labels["s/hard"][:] = epoch == 20
        snapshots.take(epoch, pools)
    with Image.open(io.BytesIO(snapshots.to_animation())) as moving:
        assert moving.n_frames == 4  # type: ignore[attr-defined]
        lasting, pictures = [], []
        for index in range(4):
            moving.seek(index)
            lasting.append(moving.info["duration"])
            pictures.append(np.asarray(moving.convert("RGB")))
    assert lasting == [6000, 600, 5400, 3000]
    waiting, orange = (232, 234, 237), (255, 120, 20)
    right = slice(10 + 170, 10 + 170 + 160)
    empty = [(p[48:208, right] == waiting).all() for p in pictures]
    assert empty == [True, False, False, False]
    assert (pictures[3][48:208, right] == orange).all(axis=2).any()


def test_a_long_run_keeps_few_updates(spot_frame: MakeFrame) -> None:
    frames = [spot_frame("s/easy", amplitude=100)]
    pools, snapshots = LabelPools(frames, PoolRule()), Snapshots(frames)
    for epoch in range(500):
        snapshots.take(epoch, pools)
        assert snapshots.epochs[-1] == epoch
    assert snapshots.epochs[0] == 0
    assert 24 <= len(snapshots.epochs) == len(snapshots.labels) <= 48


def test_state_is_tensors(spot_frame: MakeFrame) -> None:
    frames = [spot_frame("s/easy", amplitude=100)]
    snapshots = Snapshots(frames)
    snapshots.take(3, LabelPools(frames, PoolRule()))
    state = snapshots.state_dict()
    assert state["labels"].shape == (1, 1, 32, 32)
    assert state["labels"].dtype == torch.float16
