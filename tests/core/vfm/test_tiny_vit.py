# SPDX-License-Identifier: Apache-2.0
"""The third stage of a TinyViT as a foundation model, and MobileSAM's files, which hold one under other names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from pitviper.core.vfm import FrozenVFM, load_vfm
from pitviper.core.vfm.tiny_vit import TinyViTBackbone, from_mobile_sam

NAME = "tiny_vit_5m_224"


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def model(timm: Any) -> Any:
    """Random weights, and statistics of its batch norms that show."""
    torch.manual_seed(0)
    made: nn.Module = timm.create_model(NAME, num_classes=0).eval()
    with torch.no_grad():
        for key, tensor in made.named_buffers():
            if key.endswith("running_var"):
                tensor.add_(torch.rand_like(tensor))
            elif key.endswith("running_mean"):
                tensor.add_(0.1 * torch.randn_like(tensor))
    return made


def as_mobile_sam(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names that MobileSAM's own file has, in which a stage ends with its downsampling."""
    found = {}
    for key, value in state.items():
        name = re.sub(r"^stages\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", key)
        name = name.replace("stages.", "layers.").replace(".conv.", ".c.")
        name = name.replace("patch_embed.conv1", "patch_embed.seq.0").replace(
            "patch_embed.conv2", "patch_embed.seq.2"
        )
        if not name.startswith("head."):
            found[f"image_encoder.{name}"] = value.clone()
    return found


def mobile_sam_file(model: nn.Module, path: Path) -> Path:
    state = as_mobile_sam(model.state_dict())
    state["image_encoder.layers.1.blocks.0.attn.attention_bias_idxs"] = torch.zeros(49, 49, dtype=torch.int64)
    for other in ("image_encoder.neck.0.weight", "image_encoder.norm_head.weight", "image_encoder.head.bias"):
        state[other] = torch.zeros(3)
    state["prompt_encoder.no_mask_embed.weight"] = state["mask_decoder.iou_token.weight"] = torch.zeros(3)
    torch.save(state, path)
    return path


def test_equals_what_hooks_on_the_blocks_of_timm_see(model: Any) -> None:
    seen: list[Tensor] = []
    hooks = [b.register_forward_hook(lambda _, __, out: seen.append(out)) for b in model.stages[2].blocks]
    images = draw(2, 3, 96, 64)
    with torch.no_grad():
        model(images)
    for hook in hooks:
        hook.remove()
    backbone = TinyViTBackbone(model)
    assert (backbone.patch_size, backbone.dim, backbone.depth) == (16, 160, 6)
    with torch.no_grad():
        found = backbone.intermediate(images, (1, 4, 6))
    for ours, index in zip(found, (0, 3, 5), strict=True):
        assert torch.equal(ours, seen[index].permute(0, 3, 1, 2))
        assert ours.shape == (2, 160, 6, 4)


def test_a_name_alone_takes_seeded_weights_and_any_size(timm: Any) -> None:
    vfm = load_vfm(NAME, seed=1)
    assert (vfm.D, vfm.L, vfm.levels, vfm.patch_size) == (160, 4, (1, 3, 4, 6), 16)
    assert [tuple(m.shape) for m in vfm(draw(2, 1, 65, 50))] == [(2, 160, 5, 4)] * 4
    assert vfm.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    again = load_vfm(NAME, seed=1)(draw(2, 1, 65, 50))
    assert all(torch.equal(a, b) for a, b in zip(again, vfm(draw(2, 1, 65, 50)), strict=True))


@pytest.mark.parametrize("named", [None, NAME])
def test_a_file_of_mobile_sam(model: Any, tmp_path: Path, named: str | None) -> None:
    path = mobile_sam_file(model, tmp_path / "mobile_sam.pt")
    frames = draw(1, 1, 64, 96)
    want = FrozenVFM(TinyViTBackbone(model))(frames)
    for ours, theirs in zip(load_vfm(named, weights=path)(frames), want, strict=True):
        assert torch.equal(ours, theirs)
    drawn = load_vfm(named, weights=path, seed=0)
    assert not torch.equal(drawn(frames)[0], want[0])


def test_names_of_mobile_sam() -> None:
    """Three of the file that its authors publish, with the place of each in timm's model."""
    names = {
        "image_encoder.patch_embed.seq.2.bn.running_var": "patch_embed.conv2.bn.running_var",
        "image_encoder.layers.1.downsample.conv2.c.weight": "stages.2.downsample.conv2.conv.weight",
        "image_encoder.layers.2.blocks.5.local_conv.c.weight": "stages.2.blocks.5.local_conv.conv.weight",
        "image_encoder.layers.2.blocks.5.mlp.fc1.weight": "stages.2.blocks.5.mlp.fc1.weight",
    }
    assert list(from_mobile_sam({key: torch.zeros(1) for key in names})) == list(names.values())


def test_files_that_are_none(model: Any, tmp_path: Path) -> None:
    path = mobile_sam_file(model, tmp_path / "mobile_sam.pt")
    state = torch.load(path, weights_only=True)
    lost = {k: v for k, v in state.items() if "layers.2.blocks.3" not in k}
    torch.save(lost, path)
    with pytest.raises(ValueError, match=r"mobile_sam\.pt is not of this architecture: it lacks \d+ tensors"):
        load_vfm(weights=path)
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"mobile_sam\.pt is not of this architecture"):
        load_vfm("vit_tiny_patch16_224", weights=path)


def test_other_windows_are_refused_and_not_resampled(model: Any, tmp_path: Path) -> None:
    state = dict(model.state_dict())
    key = "stages.2.blocks.0.attn.attention_biases"
    state[key] = torch.zeros(state[key].shape[0], 24 * 24)
    save_file(state, tmp_path / "tiny.safetensors")
    with pytest.raises(
        ValueError, match=r"tiny\.safetensors has windows of another size .*stages\.2\.blocks\.0"
    ):
        load_vfm(NAME, weights=tmp_path / "tiny.safetensors")
