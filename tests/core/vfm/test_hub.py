# SPDX-License-Identifier: Apache-2.0
"""Vision transformers of timm behind the adapter: timm's own features, no network, and files that say what they are."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pitviper.core.vfm import load_vfm, to_unit_range
from pitviper.core.vfm.hub import TimmBackbone, _load, header

# Tiny forms of DINOv2 without registers, DINOv2 with them, a plain ViT and DINOv3 (rotary positions, gated MLP).
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "dinov2": ("vit_small_patch14_dinov2", {"img_size": 70}),
    "dinov2-registers": ("vit_small_patch14_reg4_dinov2", {"img_size": 70}),
    "plain": ("vit_tiny_patch16_224", {"img_size": 64}),
    "dinov3": ("vit_small_plus_patch16_dinov3", {}),
}


def make(timm: Any, form: str, **settings: Any) -> nn.Module:
    """A narrow and shallow model of the form, with random weights that show."""
    name, own = FORMS[form]
    torch.manual_seed(0)
    small = {"embed_dim": 48, "depth": 4, "num_heads": 3, **own, **settings}
    model: nn.Module = timm.create_model(name, num_classes=0, dynamic_img_size=True, **small).eval()
    with torch.no_grad():
        for key, tensor in model.named_parameters():
            if tensor.ndim <= 1 or "token" in key or "pos_embed" in key:
                tensor.add_(torch.randn_like(tensor) * 0.3)
    return model


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("form", FORMS)
def test_equals_the_intermediate_features_of_timm(timm: Any, form: str) -> None:
    from pitviper.core.vfm import FrozenVFM

    model = make(timm, form)
    vfm = FrozenVFM(TimmBackbone(model), levels=(1, 3, 4), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    side = 5 * vfm.patch_size
    frames = draw(2, 1, side, 2 * side)
    mean, std = torch.tensor((0.4, 0.5, 0.6)).view(3, 1, 1), torch.tensor((0.2, 0.3, 0.4)).view(3, 1, 1)
    images = (to_unit_range(frames).expand(-1, 3, -1, -1) - mean) / std
    with torch.no_grad():
        tokens = model.forward_intermediates(  # type: ignore[operator]
            images, indices=[0, 2, 3], norm=False, output_fmt="NLC", intermediates_only=True
        )
    found = vfm(frames)
    assert (vfm.D, vfm.L) == (48, 3)
    for ours, theirs in zip(found, tokens, strict=True):
        want = theirs.transpose(1, 2).unflatten(2, (5, 10))
        assert torch.equal(ours, want)
        assert float(want.std()) > 1e-2


@pytest.mark.parametrize("form", FORMS)
def test_equals_what_hooks_on_the_blocks_see(timm: Any, form: str) -> None:
    """The output of the block itself: patches alone, row by row, before the final norm."""
    from pitviper.core.vfm import FrozenVFM

    model: Any = make(timm, form)
    vfm = FrozenVFM(TimmBackbone(model), levels=(2, 4))
    seen: list[Tensor] = []
    for block in (model.blocks[1], model.blocks[3]):
        block.register_forward_hook(lambda _, __, output: seen.append(output))
    side = vfm.patch_size
    found = vfm(draw(1, 1, 3 * side, 4 * side))
    for ours, tokens in zip(found, seen, strict=True):
        prefix = tokens.shape[1] - 12
        assert prefix == {"dinov2": 1, "plain": 1, "dinov2-registers": 5, "dinov3": 5}[form]
        assert torch.equal(ours[0, :, 1, 2], tokens[0, prefix + 4 + 2])


@pytest.mark.parametrize("form", ["dinov2", "dinov2-registers", "plain"])
def test_a_file_alone_says_what_it_is(timm: Any, form: str, tmp_path: Path) -> None:
    model = make(timm, form)
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    vfm = load_vfm(weights=tmp_path / "vit.safetensors", heads=3)
    frames = draw(1, 1, 5 * vfm.patch_size, 5 * vfm.patch_size)
    want = TimmBackbone(model)
    images = (to_unit_range(frames) - vfm.mean) / vfm.std
    with torch.no_grad():
        for ours, theirs in zip(vfm(frames), want.intermediate(images, vfm.levels), strict=True):
            assert torch.equal(ours, theirs)


def test_a_file_in_the_naming_of_dinov2(timm: Any, tmp_path: Path) -> None:
    """Published files with registers hold a position for the class token and a mask token; timm's hold neither."""
    model = make(timm, "dinov2-registers")
    state = dict(model.state_dict())
    original = {k: v for k, v in state.items() if k not in ("reg_token", "cls_token", "pos_embed")}
    position = torch.randn(1, 1, 48)
    original["register_tokens"] = state["reg_token"]
    original["cls_token"] = state["cls_token"] - position
    original["pos_embed"] = torch.cat((position, state["pos_embed"]), dim=1)
    original["mask_token"] = torch.zeros(1, 48)
    torch.save(original, tmp_path / "dinov2.pth")
    save_file(model.state_dict(), tmp_path / "timm.safetensors")
    frames = draw(1, 1, 70, 70)
    found = load_vfm(weights=tmp_path / "dinov2.pth", heads=3)(frames)
    for a, b in zip(found, load_vfm(weights=tmp_path / "timm.safetensors", heads=3)(frames), strict=True):
        assert float((a - b).abs().max()) < 1e-4 * float(b.abs().max())


def test_a_name_with_a_file(timm: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0).eval()
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    vfm = load_vfm("vit_tiny_patch16_224", weights=tmp_path / "vit.safetensors")
    assert vfm.levels == (3, 6, 9, 12)
    assert vfm.mean.flatten().tolist() == [0.5, 0.5, 0.5], "this model's own configuration, not ImageNet's"
    own = vfm.backbone.state_dict()
    assert all(torch.equal(own[f"model.{k}"], v) for k, v in model.state_dict().items())
    with pytest.raises(ValueError, match=r"vit\.safetensors is not of this architecture: it .* timm name"):
        load_vfm("vit_tiny_patch16_dinov3_qkvb", weights=tmp_path / "vit.safetensors")


def test_random_weights_are_seeded_and_asked_for(timm: Any) -> None:
    first = load_vfm("vit_tiny_patch16_224", seed=1).backbone.state_dict()
    again = load_vfm("vit_tiny_patch16_224", seed=1).backbone.state_dict()
    other = load_vfm("vit_tiny_patch16_224", seed=2).backbone.state_dict()
    key = "model.blocks.3.attn.qkv.weight"
    assert torch.equal(first[key], again[key])
    assert not torch.equal(first[key], other[key])


def test_random_weights_in_the_architecture_of_a_file(timm: Any, tmp_path: Path) -> None:
    model = make(timm, "plain")
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    own, drawn, other = (
        load_vfm(weights=tmp_path / "vit.safetensors", heads=3, seed=seed) for seed in (None, 1, 2)
    )
    key = "model.blocks.3.attn.qkv.weight"
    states = [vfm.backbone.state_dict() for vfm in (own, drawn, other)]
    assert {k: v.shape for k, v in states[0].items()} == {k: v.shape for k, v in states[1].items()}
    assert not torch.equal(states[0][key], states[1][key])
    assert not torch.equal(states[1][key], states[2][key])
    assert torch.equal(own.mean, drawn.mean)
    assert own.levels == drawn.levels


def test_missing_weights_say_how_to_get_them(
    timm: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        hub = importlib.import_module("huggingface_hub")
        hub.hf_hub_download  # noqa: B018  (resolved lazily: its own requirements may be missing)
        constants = importlib.import_module("huggingface_hub.constants")
    except ImportError as error:
        pytest.skip(f"huggingface_hub cannot be imported: {error}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    message = r"not on this machine: pass download=True \(--download\) to fetch them from timm/vit_small"
    with pytest.raises(FileNotFoundError, match=message):
        load_vfm("vit_small_patch14_dinov2.lvd142m")


def test_bad_arguments(timm: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no model 'vit_smal'"):
        load_vfm("vit_smal", seed=0)
    with pytest.raises(ValueError, match="has no model 'hf-hub:someone/something'"):
        load_vfm("hf-hub:someone/something", seed=0)
    with pytest.raises(ValueError, match="resnet18 is no vision transformer"):
        load_vfm("resnet18", seed=0)
    with pytest.raises(FileNotFoundError, match=r"no weights file at .*none\.safetensors"):
        load_vfm(weights=tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="levels must rise and lie within 1 and 12"):
        load_vfm("vit_tiny_patch16_224", seed=0, levels=(3, 13))


def test_contradictions() -> None:
    with pytest.raises(ValueError, match="name of a timm model, weights=FILE, or both"):
        load_vfm()
    with pytest.raises(ValueError, match="weights names a file, so download cannot be given"):
        load_vfm("vit_tiny_patch16_224", weights="x.safetensors", download=True)
    with pytest.raises(ValueError, match="not both"):
        load_vfm("vit_tiny_patch16_224", seed=0, download=True)


def test_what_timm_would_resample_is_refused(timm: Any, tmp_path: Path) -> None:
    small = {"embed_dim": 48, "depth": 2, "num_heads": 3}
    for settings, message in (
        ({"patch_size": 32}, "patches of 32x32 pixels and this architecture of 16x16"),
        ({"img_size": 384}, "positions of 24x24 patches and this architecture of 14x14"),
    ):
        model = timm.create_model("vit_small_patch16_224", num_classes=0, **small, **settings)
        save_file(model.state_dict(), tmp_path / "vit.safetensors")
        own = timm.create_model("vit_small_patch16_224", num_classes=0, **small)
        with pytest.raises(ValueError, match=message):
            _load(own, load_file(tmp_path / "vit.safetensors"), tmp_path / "vit.safetensors")


def test_a_file_states_how_it_was_trained(timm: Any, tmp_path: Path) -> None:
    """Without its header the architecture would have to be named, and the frames would have ImageNet's scale."""
    torch.manual_seed(0)
    model = timm.create_model("eva02_tiny_patch14_224", num_classes=0, dynamic_img_size=True)
    told = header(mean=[0.4, 0.5, 0.6], std=[0.1, 0.2, 0.3], timm="eva02_tiny_patch14_224")
    save_file(model.state_dict(), tmp_path / "eva.safetensors", told)
    vfm = load_vfm(weights=tmp_path / "eva.safetensors")
    assert vfm.backbone.depth == 12
    assert vfm.mean.flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])
    assert vfm.std.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_files_of_other_libraries(timm: Any, tmp_path: Path) -> None:
    foreign = tmp_path / "dino.safetensors"
    save_file({"embeddings.patch_embeddings.weight": torch.zeros(4, 3, 16, 16)}, foreign)
    for name in (None, "vit_tiny_patch16_224"):
        with pytest.raises(
            ValueError, match=r"as the library transformers does; take .* of timm's repository"
        ):
            load_vfm(name, weights=foreign)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    save_file(
        {f"module.{key}": value for key, value in model.state_dict().items()}, tmp_path / "ddp.safetensors"
    )
    given = load_vfm("vit_tiny_patch16_224", weights=tmp_path / "ddp.safetensors")
    assert torch.equal(given.backbone.model.pos_embed, model.pos_embed)
    # A checkpoint of DINO's own training: teacher and student, each a backbone with a head.
    halves = {f"module.backbone.{key}": value for key, value in model.state_dict().items()}
    halves["module.dino_head.mlp.0.weight"] = torch.zeros(3, 3)
    student = {key: torch.zeros_like(value) for key, value in halves.items()}
    torch.save({"student": student, "teacher": halves, "epoch": 5}, tmp_path / "dino.pth")
    given = load_vfm("vit_tiny_patch16_224", weights=tmp_path / "dino.pth")
    assert torch.equal(given.backbone.model.pos_embed, model.pos_embed)


def test_both_heads_of_a_distilled_model_may_be_left_over(timm: Any, tmp_path: Path) -> None:
    name = "deit_tiny_distilled_patch16_224"
    model = timm.create_model(name)
    save_file(model.state_dict(), tmp_path / "deit.safetensors")
    given = load_vfm(name, weights=tmp_path / "deit.safetensors")
    assert torch.equal(given.backbone.model.pos_embed, model.pos_embed)


def test_wrong_tags_hybrids_and_files_are_said(timm: Any, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"cannot make 'vit_small_patch14_dinov2\.lvd142'.*with weights: .*lvd142m"
    ):
        load_vfm("vit_small_patch14_dinov2.lvd142", seed=0)
    with pytest.raises(ValueError, match="a hybrid"):
        load_vfm("vit_tiny_r_s16_p8_224", seed=0)
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth holds a list; save the state dict"):
        load_vfm(weights=tmp_path / "list.pth")
