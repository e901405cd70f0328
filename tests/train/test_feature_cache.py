# SPDX-License-Identifier: Apache-2.0
"""A training with a feature cache is the training without one, and where no crop comes twice there is no cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pitviper.train import cli
from pitviper.train.config import FDEPConfig, SupervisedConfig
from pitviper.train.data.augment import AugmentConfig
from pitviper.train.foundation import FeatureCache
from pitviper.train.run import Hardware, train_fdep

CPU = Hardware(accelerator="cpu", devices="1", precision="32-true")


@pytest.fixture(scope="module")
def whole_frames(config: Callable[..., SupervisedConfig]) -> FDEPConfig:
    """Settings under which every crop comes again: frames of 72x72 in crops of 80, nothing warped or disturbed."""
    plain = {"augmentation": {"warp": 0.0, "photometric": 0.0}, "vfm": "tiny-random"}
    common = config(crops=((1.0, 80),), batch=1, epochs=1).to_dict()
    return FDEPConfig.from_dict(common | plain)


def test_a_feature_cache_changes_no_bit_of_a_training(whole_frames: FDEPConfig, tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "cache", limit_gib=1.0)
    train_fdep(whole_frames, tmp_path / "without", hardware=CPU)
    train_fdep(whole_frames, tmp_path / "empty", hardware=CPU, cache=cache)
    stored = {path: path.stat().st_mtime_ns for path in cache.folder.glob("*/*")}
    assert len(stored) == 10, "one file a training frame"
    train_fdep(whole_frames, tmp_path / "full", hardware=CPU, cache=cache)
    assert {path: path.stat().st_mtime_ns for path in cache.folder.glob("*/*")} == stored, "all were read"
    for name in ("last.safetensors", "checkpoint.safetensors"):
        without = load_file(tmp_path / "without" / name)
        for folder in ("empty", "full"):
            found = load_file(tmp_path / folder / name)
            assert [key for key in without if not torch.equal(without[key], found[key])] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"augmentation": AugmentConfig(photometric=0.0)},
            r"but augmentation\.warp make each crop another one",
        ),
        ({"augmentation": AugmentConfig()}, r"augmentation\.warp and augmentation\.photometric make"),
        (
            {"crops": ((0.5, 64), (1.0, 80))},
            r"000\.png of tiny is 72x72 pixels and crops of 64 .* at least 72 pixels",
        ),
        ({"synthetic": 1}, "synthetic frames have 256 pixels a side and crops 80"),
    ],
)
def test_a_feature_cache_is_refused_where_no_crop_comes_twice(
    whole_frames: FDEPConfig, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    cache = FeatureCache(tmp_path / "cache")
    with pytest.raises(ValueError, match=message):
        train_fdep(replace(whole_frames, **changes), tmp_path / "run", hardware=CPU, cache=cache)
    assert list(tmp_path.iterdir()) == []


def test_the_feature_cache_of_the_command_line(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "train.json"
    plain = {"warp": 0.0, "photometric": 0.0}
    file.write_text(json.dumps({"crops": [[1.0, 96]], "batch": 4, "augmentation": plain}))
    words = [
        "fdep",
        "--no-package",
        "--out",
        str(tmp_path / "run"),
        "--config",
        str(file),
        "--data",
        str(tiny),
    ]
    words += [
        "--model",
        "pit-n",
        "--epochs",
        "1",
        "--vfm",
        "tiny-random",
        "--accelerator",
        "cpu",
        "--devices",
        "1",
    ]
    words += ["--precision", "32-true", "--vfm-cache", str(tmp_path / "cache")]
    assert cli.main([*words, "--vfm-cache-gib", "1e-9"]) == 1
    assert "the feature cache in" in capsys.readouterr().err
    assert cli.main(words) == 0
    assert len(list((tmp_path / "cache").glob("*/*.safetensors"))) == 8, "two whole batches of four"
