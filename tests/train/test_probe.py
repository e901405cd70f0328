# SPDX-License-Identifier: Apache-2.0
"""The linear probe finds what features hold, finds nothing where they hold nothing, and never leaks train into val."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pitviper.core.vfm import Backbone, FrozenVFM, TinyRandomViT
from pitviper.train.data.store import StoredFrame
from pitviper.train.probe import _choose, _score, probe_levels

SIDE = 64


class Contrast(Backbone):
    """Level 1 holds how bright the brightest 2 x 2 pixels of a patch are; level 2 holds noise alone."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_size, self.dim, self.depth = 8, 2, 2
        self.parameter = nn.Parameter(torch.zeros(1))

    def intermediate(self, images: Tensor, levels: Sequence[int]) -> list[Tensor]:
        gray = images.mean(dim=1, keepdim=True)
        # One pixel is not enough: extreme ones are clipped on the way in.
        contrast = F.max_pool2d(F.avg_pool2d(F.pad(gray, (0, 1, 0, 1)), 2, stride=1), 8)
        noise = [torch.randn(contrast.shape, generator=torch.Generator().manual_seed(i)) for i in range(3)]
        made = {1: torch.cat((contrast, noise[0]), 1), 2: torch.cat((noise[1], noise[2]), 1)}
        return [made[level] for level in levels]


def frames(count: int, *, seed: int, targets: bool = True) -> list[StoredFrame]:
    """Noise with one bright target of 2 x 2 pixels within one patch of 8 in each frame."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        image = rng.standard_normal((SIDE, SIDE)).astype(np.float32)
        mask = np.zeros((SIDE, SIDE), np.bool_)
        if targets:
            row, column = 8 * rng.integers(0, SIDE // 8, 2) + rng.integers(0, 7, 2)
            image[row : row + 2, column : column + 2] += 8.0
            mask[row : row + 2, column : column + 2] = True
        places = np.argwhere(mask).astype(np.int32)
        made.append(StoredFrame(f"f{i}", image.astype(np.float16), mask, places))
    return made


def test_features_that_hold_targets_and_features_that_do_not() -> None:
    scores = probe_levels(FrozenVFM(Contrast()), frames(60, seed=0), frames(40, seed=1), side=SIDE)
    assert list(scores) == ["1", "2", "all"]
    assert scores["1"].auc > 0.99
    assert scores["all"].auc > 0.99
    assert scores["1"].average_precision > 0.9
    # Chance, within 4 standard errors of an AUC from 40 target patches: 4 * sqrt(1 / (12 * 40)).
    assert abs(scores["2"].auc - 0.5) < 0.19
    assert scores["2"].average_precision < 0.1
    assert scores["1"].patches == 40 * (SIDE // 8) ** 2
    assert scores["1"].targets == 40
    assert scores["1"].to_dict().keys() == {"auc", "average_precision", "targets", "patches"}


def test_the_probe_repeats_and_leaves_the_model_alone() -> None:
    vfm = FrozenVFM(TinyRandomViT(patch_size=8), levels=(2, 4))
    before = {k: v.clone() for k, v in vfm.backbone.state_dict().items()}
    train, val = frames(20, seed=0), frames(10, seed=1)
    first = probe_levels(vfm, train, val, side=SIDE)
    torch.manual_seed(5)
    assert probe_levels(vfm, train, val, side=SIDE) == first
    assert list(first) == ["2", "4", "all"]
    assert all(torch.equal(v, before[k]) for k, v in vfm.backbone.state_dict().items())


def test_the_area_under_both_curves() -> None:
    """By hand: of 2 x 3 pairs 4 are in order and 1 is tied, which counts half; precisions 1/1 and 2/4."""
    score = _score(np.array([0.9, 0.8, 0.5, 0.5, 0.1]), np.array([True, False, False, True, False]))
    assert score.auc == pytest.approx(4.5 / 6)
    perfect = _score(np.array([3.0, 2.0, 1.0]), np.array([True, False, False]))
    assert (perfect.auc, perfect.average_precision) == (1.0, 1.0)
    worst = _score(np.array([1.0, 2.0, 3.0]), np.array([True, False, False]))
    assert (worst.auc, worst.average_precision) == (0.0, pytest.approx(1 / 3))


def test_choice_of_patches() -> None:
    labels = torch.zeros(3, 20, dtype=torch.bool)
    labels[0, :4] = True
    taken = _choose(labels, 5, seed=0)
    assert taken.sum(dim=1).tolist() == [9, 5, 5]
    assert bool(taken[0, :4].all())
    assert not torch.equal(taken[1], taken[2])


def test_frames_without_targets_are_refused() -> None:
    vfm = FrozenVFM(Contrast())
    with pytest.raises(ValueError, match=r"the val frames need patches with and without targets"):
        probe_levels(vfm, frames(3, seed=0), frames(3, seed=1, targets=False), side=SIDE)
    with pytest.raises(ValueError, match=r"side must be a multiple of the patch, 8 pixels, got 60"):
        probe_levels(vfm, frames(3, seed=0), frames(3, seed=1), side=60)
