# SPDX-License-Identifier: Apache-2.0
"""The foundation model of a run is the one that was named; random weights are taken only when asked for."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from pitviper.core.vfm import FrozenVFM, TinyRandomViT
from pitviper.core.vfm.adapter import IMAGENET_MEAN, IMAGENET_STD
from pitviper.train import foundation
from pitviper.train.config import FDEPConfig
from pitviper.train.foundation import describe_vfm, open_all_levels, open_vfm
from pitviper.train.point_config import SemanticPriorsConfig


def test_tiny_random_follows_the_seed() -> None:
    first, again, other = (open_vfm(FDEPConfig(vfm="tiny-random", seed=seed)) for seed in (3, 3, 4))
    assert isinstance(first.backbone, TinyRandomViT)
    weights = [next(v.backbone.parameters()) for v in (first, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert first.levels == (1, 2, 3, 4)


def test_levels_are_passed_on() -> None:
    config = FDEPConfig(vfm="tiny-random", levels=(2, 3))
    vfm = open_vfm(config)
    assert vfm.levels == (2, 3)
    shown = describe_vfm(config, vfm)
    assert [shown.pop(key) for key in ("mean", "std")] == [
        pytest.approx(IMAGENET_MEAN),
        pytest.approx(IMAGENET_STD),
    ]
    assert shown == {"name": "tiny-random", "levels": [2, 3], "dim": 32, "patch_size": 16, "scale": 1}
    with pytest.raises(ValueError, match=r"within 1 and 4, the blocks of this backbone; got \(3, 6\)"):
        open_vfm(FDEPConfig(vfm="tiny-random", levels=(3, 6)))


@pytest.mark.parametrize("config", [FDEPConfig, SemanticPriorsConfig])
def test_scale_is_passed_on(config: type[FDEPConfig | SemanticPriorsConfig]) -> None:
    wanted = config(vfm="tiny-random", vfm_scale=4)
    vfm = open_vfm(wanted) if isinstance(wanted, FDEPConfig) else open_all_levels(wanted)[0]
    assert (vfm.scale, vfm.patch_size) == (4, 4)
    assert vfm(torch.zeros(1, 1, 32, 48))[0].shape == (1, 32, 8, 12)


def test_a_model_must_be_named() -> None:
    with pytest.raises(ValueError, match=r"--vfm NAME .* --vfm-weights FILE, or --vfm tiny-random"):
        open_vfm(FDEPConfig())


def test_random_weights_come_from_nowhere_else() -> None:
    with pytest.raises(ValueError, match=r"tiny-random has random weights; leave out --vfm-weights"):
        open_vfm(FDEPConfig(vfm="tiny-random", vfm_weights="x.safetensors"))
    with pytest.raises(ValueError, match=r"random:vit_tiny has random weights"):
        open_vfm(FDEPConfig(vfm="random:vit_tiny"), download=True)
    with pytest.raises(ValueError, match=r"random:vit_tiny has random weights"):
        open_vfm(FDEPConfig(vfm="random:vit_tiny", vfm_weights="x.safetensors"))
    with pytest.raises(ValueError, match=r"need an architecture: --vfm random:NAME"):
        open_vfm(FDEPConfig(vfm="random"))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no weights file"):
        open_vfm(FDEPConfig(vfm_weights=str(tmp_path / "gone.safetensors")))


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pth", "empty.pth"])
def test_broken_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"" if name.startswith("empty") else b"{this is no file of tensors}")
    with pytest.raises(
        ValueError, match=rf"{name} cannot be read as weights \(.+\); give a \.safetensors file"
    ):
        open_vfm(FDEPConfig(vfm_weights=str(path)))
    with pytest.raises(ValueError, match="leave out --download"):
        open_vfm(FDEPConfig(vfm_weights=str(path)), download=True)


def test_what_is_asked_of_timm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[str | None, dict[str, Any]]] = []

    def load(name: str | None = None, **named: Any) -> FrozenVFM:
        asked.append((name, {k: v for k, v in named.items() if v and (k, v) != ("scale", 1)}))
        return FrozenVFM(TinyRandomViT())

    monkeypatch.setattr(foundation, "load_vfm", load)
    path = tmp_path / "mine.safetensors"
    save_file({"weights": torch.zeros(2)}, path)
    named = FDEPConfig(vfm="vit_x", vfm_weights=str(path), levels=(3, 6), vfm_scale=2)
    open_vfm(named)
    assert capsys.readouterr().err == ""
    open_vfm(FDEPConfig(vfm_weights=str(path)))
    assert "neither what model it is nor how frames are scaled" in capsys.readouterr().err
    open_vfm(FDEPConfig(vfm="vit_x", vfm_scale=7), download=True)
    open_vfm(FDEPConfig(vfm="random:vit_x", seed=5, vfm_scale=2))
    drawn = FDEPConfig(vfm="random", vfm_weights=str(path), seed=6, vfm_scale=4)
    open_vfm(drawn)
    assert asked == [
        ("vit_x", {"weights": str(path), "levels": (3, 6), "scale": 2}),
        (None, {"weights": str(path)}),
        ("vit_x", {"download": True, "scale": 7}),
        ("vit_x", {"seed": 5, "scale": 2}),
        (None, {"weights": str(path), "seed": 6, "scale": 4}),
    ]
    facts = describe_vfm(named, FrozenVFM(TinyRandomViT()))
    assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts["name"] == "vit_x"
    shown = describe_vfm(drawn, FrozenVFM(TinyRandomViT()))["name"]
    assert shown == "random weights in the architecture of mine.safetensors"
    unnamed = FDEPConfig(vfm_weights=str(path))
    assert describe_vfm(unnamed, FrozenVFM(TinyRandomViT()))["name"] == "mine.safetensors"
