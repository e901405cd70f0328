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
        "upright": [],
        "mine": [],
        "mine_threshold": 0.05,
        "mine_beside": 0,
        "missed": [],
        "missed_times": 4,
        "plant": 0.0,
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
        ({"bce_weight": -1.0}, "bce_weight must be at least 0, got -1.0"),
        ({"distillation": float("nan")}, "distillation must be a finite number, got nan"),
        ({"clip": float("nan")}, "clip must be a finite number, got nan"),
        ({"light_weight": float("inf")}, "light_weight must be a finite number, got inf"),
        ({"samf_style": "fancy"}, "samf_style must be one of identity, plain, got 'fancy'"),
        ({"light_weight": 0.0}, "light_weight must be above 0"),
        ({"distillation": -1.0}, "distillation at least 0"),
        ({"epochs": 0}, "at least 1"),
        ({"clip": 0.0}, r"clip \(the largest gradient norm\) must be above 0"),
        ({"synthetic": -5}, "synthetic at least 0"),
        ({"ema": 5.0}, "ema and warmup are at least 0 and below 1"),
        ({"plain_share": 7.0}, "plain_share a share of the run"),
        ({"target_share": 7.0}, "target_share is a probability from 0 to 1"),
    ],
)
def test_fdep_settings_are_checked(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FDEPConfig(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": "5"}, "epochs must be a whole number, got '5'"),
        ({"epochs": 5.5}, "epochs must be a whole number, got 5.5"),
        ({"lr": True}, "lr must be a finite number, got True"),
        ({"model": 3}, "model must be a text, got 3"),
        ({"data": "folder"}, "data must be a list of texts, got 'folder'"),
        ({"crops": 64}, r"crops must be a list of \[share, side\] .*, got 64"),
        ({"crops": [64]}, r"crops must be a list of \[share, side\] .*, got \[64\]"),
        ({"crops": [[1.0, "64"]]}, "crops must be a list of"),
        ({"augmentation": 3}, "augmentation must be settings by name, got 3"),
        ({"augmentation": {"warp": "x"}}, r"augmentation\.warp must be a finite number, got 'x'"),
        ({"validate_every": 0}, "validate_every must be at least 1, got 0"),
        ({"crops": [[1.0, 0]]}, "rising shares above 0 and sides of at least 1 pixel"),
        ({"crops": [[0.9, 64], [0.5, 32], [1.0, 64]]}, "rising shares"),
        ({"crops": [[0.0, 64], [1.0, 32]]}, "rising shares above 0"),
    ],
)
def test_a_settings_file_of_wrong_types_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SupervisedConfig.from_dict(settings)


def test_levels_of_a_settings_file_are_numbers() -> None:
    assert FDEPConfig.from_dict({"levels": [2, 4]}).levels == (2, 4)
    with pytest.raises(ValueError, match="levels must be a list of whole numbers"):
        FDEPConfig.from_dict({"levels": 3})
