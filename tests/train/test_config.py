# SPDX-License-Identifier: Apache-2.0
"""Settings survive JSON, and a misspelt one is never ignored."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from pitviper.train.config import FDEPConfig, SupervisedConfig, stored_config
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
    with pytest.raises(
        ValueError, match=r"unknown setting: learning_rate; known are accumulate, augmentation"
    ):
        SupervisedConfig.from_dict({"learning_rate": 1e-3})
    with pytest.raises(ValueError, match=r"unknown setting of augmentation: flip; known are gain"):
        SupervisedConfig.from_dict({"augmentation": {"flip": 1}})


@pytest.mark.parametrize("change", [{"epochs": 0}, {"batch": 0}, {"crops_per_frame": 0}, {"accumulate": 0}])
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


STORED = {
    "model": "pit-s",
    "data": ["a", "a", "b"],
    "synthetic": 0,
    "epochs": 220,
    "crops": [[0.75, 128], [0.85, 192], [1.0, 256]],
    "crops_per_frame": 1,
    "target_share": 0.6,
    "batch": 16,
    "lr": 0.0015,
    "weight_decay": 0.01,
    "warmup": 0.03,
    "clip": 5.0,
    "ema": 0.999,
    "keep": 0.1,
    "bce_weight": 1.0,
    "validate_every": 10,
    "seed": 0,
    "augmentation": asdict(AugmentConfig()),
    "plain_share": 0.25,
}
"""Settings as the shipped models' checkpoints hold them, which name no recipe."""


def test_settings_of_stored_checkpoints_are_read_as_supervised() -> None:
    config = stored_config({"config": STORED, "history": []})
    assert type(config) is SupervisedConfig
    later = {
        "init": "",
        "optimizer": "adamw",
        "accumulate": 1,
        "checkpoint_every": 0,
        "mine": [],
        "mine_threshold": 0.05,
        "mine_beside": 0,
    }
    assert json.loads(json.dumps(config.to_dict())) == STORED | later


def test_each_recipe_reads_its_own_settings() -> None:
    config = FDEPConfig(vfm="tiny-random", levels=(3, 6), distillation=2.0, statistics="joint")
    stored = {"recipe": "fdep", "config": json.loads(json.dumps(config.to_dict()))}
    assert stored_config(stored) == config
    with pytest.raises(ValueError, match=r"unknown setting: distillation, levels, light_weight"):
        SupervisedConfig.from_dict(stored["config"])
    assert (
        FDEPConfig.from_dict(STORED).to_dict().items() >= SupervisedConfig.from_dict(STORED).to_dict().items()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"statistics": "both"}, "statistics must be one of separate, shared, joint, got 'both'"),
        ({"light_weight": 0.0}, "light_weight must be above 0"),
        ({"distillation": -1.0}, "distillation at least 0"),
        ({"epochs": 0}, "at least 1"),
    ],
)
def test_fdep_settings_are_checked(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FDEPConfig(**change)  # type: ignore[arg-type]
