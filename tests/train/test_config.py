# SPDX-License-Identifier: Apache-2.0
"""Settings survive JSON, and a misspelt one is never ignored."""

from __future__ import annotations

import json

import pytest

from pitviper.train.config import SupervisedConfig
from pitviper.train.data.augment import AugmentConfig


def test_round_trip_through_json() -> None:
    config = SupervisedConfig(
        model="pit-n",
        data=("a", "b"),
        crops=((0.5, 128), (1.0, 256)),
        augmentation=AugmentConfig(rotate_deg=10.0),
    )
    assert SupervisedConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_missing_settings_take_their_defaults() -> None:
    assert SupervisedConfig.from_dict({"epochs": 3}) == SupervisedConfig(epochs=3)


def test_unknown_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown setting: learning_rate; known are augmentation, batch"):
        SupervisedConfig.from_dict({"learning_rate": 1e-3})
    with pytest.raises(ValueError, match=r"unknown setting of augmentation: flip; known are gain"):
        SupervisedConfig.from_dict({"augmentation": {"flip": 1}})


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch": 0}, {"crops_per_frame": 0}])
def test_counts_start_at_one(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SupervisedConfig(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize("crops", [(), ((0.5, 128),)])
def test_crops_cover_the_whole_run(crops: tuple[tuple[float, int], ...]) -> None:
    with pytest.raises(ValueError, match=r"crops must end with share 1\.0"):
        SupervisedConfig(crops=crops)


def test_crop_at() -> None:
    config = SupervisedConfig(epochs=10, crops=((0.5, 128), (0.8, 192), (1.0, 256)))
    assert [config.crop_at(epoch) for epoch in range(10)] == [128] * 5 + [192] * 3 + [256] * 2


def test_last_share_of_the_run_is_plain() -> None:
    config = SupervisedConfig(epochs=8, plain_share=0.25)
    assert [config.augmentation_at(epoch).warp > 0 for epoch in range(8)] == [True] * 6 + [False] * 2
    assert config.augmentation_at(7).photometric == 0.0
    assert SupervisedConfig(epochs=8, plain_share=0.0).augmentation_at(7) == config.augmentation
