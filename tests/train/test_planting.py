# SPDX-License-Identifier: Apache-2.0
"""Copies of targets in crops: what is added is one target and nothing else, where it can be seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper.core.metrics.components import find_components
from pitviper.train.config import FDEPConfig, SupervisedConfig
from pitviper.train.data.augment import AugmentConfig
from pitviper.train.data.crops import CropDataset
from pitviper.train.data.planting import Planter, cut_target
from pitviper.train.data.store import StoredFrame
from pitviper.train.foundation import FeatureCache, cached, open_vfm
from pitviper.train.point_config import PALConfig

SHAPE = np.array([[1, 1, 1], [0, 1, 1]], np.bool_)
PLAIN = AugmentConfig(warp=0.0, photometric=0.0)
EXACT = 1e-2  # Frames are kept in half precision, which resolves 0.004 at 8.


def stored(name: str, image: NDArray[np.float32], mask: NDArray[np.bool_]) -> StoredFrame:
    return StoredFrame(name, image.astype(np.float16), mask, np.argwhere(mask).astype(np.int32))


def source(name: str = "set/source", *, level: float = 0.0, at: tuple[int, int] = (30, 40)) -> StoredFrame:
    """A flat frame [64, 96] with one target of 8 above its level."""
    mask = np.zeros((64, 96), np.bool_)
    mask[at[0] : at[0] + 2, at[1] : at[1] + 3] = SHAPE
    return stored(name, np.where(mask, level + 8.0, level).astype(np.float32), mask)


def empty(*, noise: float = 0.5, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    image = np.random.default_rng(seed).normal(0.0, noise, (64, 64)).astype(np.float32)
    return image, np.zeros((64, 64), np.bool_)


@pytest.mark.parametrize("level", [-2.0, 0.0, 3.0])
def test_a_target_is_cut_without_its_background(level: float) -> None:
    found = cut_target(source(level=level), np.random.default_rng(0))
    assert found is not None
    light, shape = found
    assert np.array_equal(shape[4:-4, 4:-4], SHAPE)
    np.testing.assert_allclose(light, 8.0 * shape, atol=EXACT)


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(np.pad(np.ones((60, 80), np.bool_), 2), id="too-large"),
        pytest.param(np.pad(np.ones((2, 2), np.bool_), ((1, 61), (40, 54))), id="at-the-border"),
        pytest.param(np.pad(np.array([[1, 0, 0, 1]], np.bool_), ((30, 33), (40, 52))), id="beside-another"),
    ],
)
def test_what_cannot_be_cut_alone_is_not_cut(mask: NDArray[np.bool_]) -> None:
    frame = stored("set/0", 8.0 * mask.astype(np.float32), mask)
    assert cut_target(frame, np.random.default_rng(0)) is None


def test_one_target_is_added_and_nothing_else_changes() -> None:
    planter = Planter([source()], ())
    image, mask = empty()
    before = image.copy()
    places, heights = set(), []
    for seed in range(40):
        planted, label = planter.plant(image, mask, "other", np.random.default_rng(seed))
        components = find_components(label)
        assert list(components.area) == [SHAPE.sum()]
        added = planted - before
        np.testing.assert_allclose(added[~label], 0.0, atol=EXACT)
        assert np.ptp(added[label]) < EXACT
        places.add(tuple(components.centroid_yx[0]))
        heights.append(added[label].mean())
    assert np.array_equal(image, before)
    assert not mask.any(), "the given crop is as it was"
    assert len(places) > 30
    assert min(heights) >= 8 * 0.7 - EXACT
    assert max(heights) <= 8 * 1.3 + EXACT
    assert max(heights) - min(heights) > 2


def test_targets_that_are_there_stay_alone() -> None:
    planter = Planter([source()], ())
    image, mask = empty()
    mask[::16, ::16] = True
    for seed in range(40):
        _, label = planter.plant(image, mask, "other", np.random.default_rng(seed))
        assert np.array_equal(label & mask, mask)
        assert len(find_components(label)) in (16, 17)


def test_a_target_is_not_planted_where_nobody_would_see_it() -> None:
    planter = Planter([source()], ())
    loud, mask = empty(noise=8.0)
    for seed in range(20):
        assert planter.plant(loud, mask, "other", np.random.default_rng(seed))[0] is loud
    loud[:, :32] = empty(noise=0.5)[0][:, :32]
    found = [planter.plant(loud, mask, "other", np.random.default_rng(seed))[1] for seed in range(60)]
    columns = np.concatenate([np.argwhere(label)[:, 1] for label in found])
    assert len(columns) > 100
    assert columns.max() < 32


def test_upright_sets_keep_their_targets_and_take_none() -> None:
    image, mask = empty()
    rng = np.random.default_rng(0)
    own = Planter([source("beside/0")], ("beside",))
    assert own.plant(image, mask, "other", rng)[0] is image
    for _ in range(20):
        _, label = own.plant(image, mask, "beside", rng)
        box = np.argwhere(label)
        top, left = box.min(axis=0)
        assert np.array_equal(label[top : top + 2, left : left + 3], SHAPE), (
            "an upright set's target was turned"
        )
    others = Planter([source("other/0")], ("beside",))
    assert others.plant(image, mask, "beside", rng)[0] is image


def test_the_asked_share_of_crops_gets_one() -> None:
    frames = [source(), stored("set/empty", *empty())]
    for share in (0.0, 0.3, 1.0):
        crops = CropDataset(frames, size=48, target_share=0.0, augmentation=PLAIN, seed=0, plant=share)
        planted = np.mean([bool(crops[draw, 1][1].any()) for draw in range(400)])
        # Four standard deviations of 400 draws.
        assert abs(planted - share) <= 4 * np.sqrt(share * (1 - share) / 400) + 1e-9
    first, again = (crops[7, 0] for _ in range(2))
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))


def test_the_plain_epochs_at_the_end_plant_nothing() -> None:
    config = SupervisedConfig(plant=0.5, epochs=8, plain_share=0.25)
    assert [config.plant_at(epoch) for epoch in range(8)] == [0.5] * 6 + [0.0] * 2
    assert replace(config, plain_share=0.0).plant_at(7) == 0.5


def test_bad_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"plant is a probability from 0 to 1, got 1\.5"):
        SupervisedConfig(plant=1.5)
    with pytest.raises(ValueError, match="pal takes no --plant: its frames are known by their points alone"):
        PALConfig(plant=0.5)
    settings = FDEPConfig(vfm="tiny-random", plant=0.5, augmentation=PLAIN)
    with pytest.raises(ValueError, match="--plant makes each crop another one"):
        cached(open_vfm(settings), settings, FeatureCache(tmp_path))
