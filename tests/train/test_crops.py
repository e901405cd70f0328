# SPDX-License-Identifier: Apache-2.0
"""Crops depend on their key alone, cover targets at the asked share, and processes share them out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pitviper.train.data.augment import AugmentConfig
from pitviper.train.data.crops import CropDataset, EpochSampler, crop_counts, cut
from pitviper.train.data.store import StoredFrame, make_frame

PLAIN = AugmentConfig(warp=0.0, photometric=0.0)


def frame(height: int, width: int, seed: int = 0, *, target: bool = True) -> StoredFrame:
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.bool_)
    if target:
        mask[height // 2, width // 3] = True
    return make_frame(f"test/{seed}", rng.integers(900, 1100, (height, width)).astype(np.uint16), mask)


def dataset(frames: list[StoredFrame], *, seed: int = 0, size: int = 32, share: float = 1.0) -> CropDataset:
    return CropDataset(frames, size=size, target_share=share, augmentation=AugmentConfig(), seed=seed)


def test_a_crop_depends_on_seed_draw_and_index_alone() -> None:
    frames = [frame(80, 96, 1), frame(80, 96, 2)]
    first, again = dataset(frames), dataset(frames)
    again[0, 0]  # an item taken before changes nothing
    for a, b in zip(first[3, 1], again[3, 1], strict=True):
        assert torch.equal(a, b)
    image = first[3, 1][0]
    for other in (first[4, 1], first[3, 0], dataset(frames, seed=1)[3, 1]):
        assert not torch.equal(image, other[0])


def test_items_are_float32_planes() -> None:
    image, mask = dataset([frame(50, 70)], size=48)[0, 0]
    assert image.shape == mask.shape == (1, 48, 48)
    assert image.dtype == mask.dtype == torch.float32
    assert set(mask.unique().tolist()) <= {0.0, 1.0}


def test_target_share() -> None:
    """One target pixel in 400x400: a free crop of 32 holds it in under 1 % of draws, a placed one always."""
    frames = [frame(400, 400)]
    for share, low, high in ((1.0, 1.0, 1.0), (0.5, 0.3, 0.7), (0.0, 0.0, 0.05)):
        crops = CropDataset(frames, size=32, target_share=share, augmentation=PLAIN, seed=0)
        hits = np.mean([bool(crops[draw, 0][1].any()) for draw in range(200)])
        assert low <= hits <= high


def test_placed_targets_are_spread_over_the_crop() -> None:
    crops = CropDataset([frame(200, 200)], size=16, target_share=1.0, augmentation=PLAIN, seed=0)
    places = {tuple(np.argwhere(crops[draw, 0][1][0].numpy())[0]) for draw in range(300)}
    assert len(places) > 120, "a network that always sees targets in the middle learns the middle"


def test_frames_smaller_than_the_crop_are_mirrored_mask_and_all() -> None:
    small = np.arange(12, dtype=np.float32).reshape(3, 4)
    window = cut(small, 0, 0, 6)
    assert np.array_equal(window[:3, :4], small)
    assert np.array_equal(window[:, 4], window[:, 2]), "mirrored at the last column, which is not repeated"
    assert np.array_equal(window[3], window[1])
    image, mask = dataset([frame(20, 24)], size=64)[0, 0]
    assert image.shape == (1, 64, 64)
    assert mask.sum() >= 1


def test_cut_inside_is_the_window_itself() -> None:
    array = np.arange(100).reshape(10, 10)
    assert np.array_equal(cut(array, 2, 5, 4), array[2:6, 5:9])


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (2, 1), (1, 2), (2, 3), (6, 1), (1, 6)])
def test_a_step_takes_the_same_crops_however_it_is_shared(world: int, accumulate: int) -> None:
    """12 crops a step; 31 keys make two steps, and 7 are left out."""
    repeats = [1, 3, 2, 1, 4, 1, 3, 2, 1, 4, 5, 4]
    for epoch in (0, 7):
        samplers = [
            EpochSampler(repeats, batch=12, seed=5, rank=rank, world=world, accumulate=accumulate)
            for rank in range(world)
        ]
        for sampler in samplers:
            sampler.epoch = epoch
        whole = EpochSampler(repeats, batch=12, seed=5)
        whole.epoch = epoch
        taken = [list(sampler) for sampler in samplers]
        assert {len(parts) for parts in taken} == {2 * accumulate} == {len(s) for s in samplers}
        for step, expected in enumerate(whole):
            parts = [p for own in taken for p in own[step * accumulate : (step + 1) * accumulate]]
            assert sorted(key for part in parts for key in part) == sorted(expected)
            assert {len(part) for part in parts} == {12 // (world * accumulate)}


def test_parts_do_not_depend_on_how_many_processes_share_them() -> None:
    alone = list(EpochSampler([8], batch=8, seed=1, accumulate=4))
    shared = [list(EpochSampler([8], batch=8, seed=1, rank=r, world=2, accumulate=2)) for r in range(2)]
    assert sorted(alone) == sorted(shared[0] + shared[1])


def test_an_epoch_goes_on_at_a_step() -> None:
    whole = list(EpochSampler([20], batch=4, seed=1, accumulate=2))
    rest = EpochSampler([20], batch=4, seed=1, accumulate=2)
    rest.first_step = 3
    assert list(rest) == whole[6:]
    assert len(rest) == 4


def test_batches_that_do_not_fit() -> None:
    with pytest.raises(
        ValueError, match=r"batch 6 does not divide into 4 parts \(2 processes, --accumulate 2\)"
    ):
        EpochSampler([9], batch=6, seed=0, world=2, accumulate=2)
    with pytest.raises(ValueError, match="9 crops an epoch do not fill a batch of 10; lower --batch"):
        EpochSampler([9], batch=10, seed=0)


def test_order_changes_with_epoch_and_seed_and_draws_never_repeat() -> None:
    sampler = EpochSampler([1, 2, 3], batch=6, seed=0)
    epochs = []
    for epoch in range(4):
        sampler.epoch = epoch
        epochs += list(sampler)
    keys = [key for epoch in epochs for key in epoch]
    assert len(set(keys)) == len(keys) == 24
    assert len({tuple(i for _, i in epoch) for epoch in epochs}) > 1
    sampler.epoch = 2
    assert list(sampler) == [epochs[2]]
    other = EpochSampler([1, 2, 3], batch=6, seed=1)
    assert list(other) != [epochs[0]]


def test_larger_frames_give_more_crops() -> None:
    frames = [frame(64, 64), frame(256, 256), frame(512, 512), frame(1024, 1024)]
    assert crop_counts(frames, 1) == [1, 1, 2, 4]
    assert crop_counts(frames, 3) == [3, 3, 6, 12]


def test_stored_frames_are_standardised_in_half_precision() -> None:
    stored = frame(60, 70)
    assert stored.image.dtype == np.float16
    assert abs(float(stored.image.astype(np.float32).mean())) < 1e-3
    assert stored.targets.tolist() == [[30, 23]]


def test_only_the_sets_that_are_named_stay_upright() -> None:
    frames = [frame(64, 64, 5), frame(64, 64, 6)]
    frames[1] = replace(frames[1], name="upright/6")
    crops = CropDataset(frames, size=64, target_share=0.0, augmentation=PLAIN, seed=0, upright=("upright",))
    forms = [{crops[draw, index][0].numpy().tobytes() for draw in range(60)} for index in (0, 1)]
    assert [len(each) for each in forms] == [8, 2]
    assert np.ascontiguousarray(frames[1].image.astype(np.float32)).tobytes() in forms[1]
