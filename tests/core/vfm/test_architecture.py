# SPDX-License-Identifier: Apache-2.0
"""Architectures are read off tensor shapes, and what cannot be read is refused with what to give instead."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pitviper.core.vfm.architecture import recognise


def state_of(
    width: int = 384,
    depth: int = 12,
    *,
    patch: int = 14,
    positions: int | None = 1370,
    **more: tuple[int, ...],
) -> dict[str, Tensor]:
    """Zero tensors with the names and shapes of a published file."""
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (width, 3, patch, patch),
        "cls_token": (1, 1, width),
        **more,
    }
    if positions is not None:
        shapes["pos_embed"] = (1, positions, width)
    for block in range(depth):
        shapes[f"blocks.{block}.attn.qkv.weight"] = (3 * width, width)
        shapes[f"blocks.{block}.attn.qkv.bias"] = (3 * width,)
        shapes[f"blocks.{block}.mlp.fc1.weight"] = (4 * width, width)
        shapes[f"blocks.{block}.ls1.gamma"] = (width,)
    return {k: torch.zeros(1).expand(v) for k, v in shapes.items()}


@pytest.mark.parametrize(
    ("width", "depth", "heads"), [(192, 12, 3), (384, 12, 6), (768, 12, 12), (1024, 24, 16)]
)
def test_size(width: int, depth: int, heads: int) -> None:
    found = recognise(state_of(width, depth))
    assert (found.width, found.depth, found.heads, found.patch_size) == (width, depth, heads, 14)
    assert (found.grid, found.registers, found.class_token, found.layer_scale) == (37, 0, True, True)
    assert found.timm_settings()["mlp_ratio"] == 4


@pytest.mark.parametrize(
    ("more", "positions", "registers", "of_prefix"),
    [
        ({}, 1370, 0, True),
        ({"reg_token": (1, 4, 384)}, 1369, 4, False),
        ({"reg_token": (1, 4, 384)}, 1374, 4, True),
        ({"register_tokens": (1, 4, 384), "mask_token": (1, 384)}, 1370, 4, False),
    ],
)
def test_prefix(more: dict[str, tuple[int, ...]], positions: int, registers: int, of_prefix: bool) -> None:
    found = recognise(state_of(positions=positions, **more))
    assert (found.grid, found.registers, found.positions_of_prefix) == (37, registers, of_prefix)


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({}, "vit_small_patch16_dinov3"),
        ({"blocks.0.mlp.w1.weight": (1536, 384)}, "vit_small_plus_patch16_dinov3"),
    ],
)
def test_rotary_positions(more: dict[str, tuple[int, ...]], name: str) -> None:
    found = recognise(state_of(patch=16, positions=None, storage_tokens=(1, 4, 384), **more))
    assert (found.timm_name, found.registers, found.timm_settings()) == (name, 4, {})


def test_rotary_positions_with_biases() -> None:
    state = state_of(patch=16, positions=None, storage_tokens=(1, 4, 384))
    bias = torch.zeros(1152)
    bias[384:768] = 1.0
    state["blocks.3.attn.qkv.bias"] = bias
    assert recognise(state).timm_name == "vit_small_patch16_dinov3", "the bias of the keys does not count"
    bias[900] = 1.0
    assert recognise(state).timm_name == "vit_small_patch16_dinov3_qkvb"


def test_what_cannot_be_recognised() -> None:
    with pytest.raises(ValueError, match=r"no tensor patch_embed\.proj\.weight \(it holds conv1\.weight"):
        recognise({"conv1.weight": torch.empty(1)})
    with pytest.raises(
        ValueError, match="width 416 has no usual number of attention heads: give the timm name"
    ):
        recognise(state_of(416))
    with pytest.raises(ValueError, match=r"norm before the first block.*give the timm name"):
        recognise(state_of() | {"norm_pre.weight": torch.empty(384)})
    with pytest.raises(ValueError, match="5 heads do not divide the width 384"):
        recognise(state_of(), heads=5)
    with pytest.raises(ValueError, match="1371 learned positions are no square grid"):
        recognise(state_of(positions=1371))
    with pytest.raises(ValueError, match="no learned positions, width 416, depth 12"):
        recognise(state_of(416, positions=None))
