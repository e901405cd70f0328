# SPDX-License-Identifier: Apache-2.0
"""Which vision transformer a file of weights belongs to, read off the names and shapes of its tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

# Shapes do not tell the number of heads; these are the usual ones of each width.
HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16, 1536: 24}

# Rotary positions leave no tensor behind, so these are known by (width, depth, gated MLP).
_ROTARY = {
    (384, 12, False): "vit_small_patch16_dinov3",
    (384, 12, True): "vit_small_plus_patch16_dinov3",
    (768, 12, False): "vit_base_patch16_dinov3",
    (1024, 24, False): "vit_large_patch16_dinov3",
    (1280, 32, True): "vit_huge_plus_patch16_dinov3",
}


@dataclass(frozen=True)
class Architecture:
    """A vision transformer.

    Attributes:
        timm_name: The timm model that it is, or the one of which it is a variant by ``timm_settings``.
        width: D of the tokens.
        depth: Blocks.
        heads: Attention heads.
        patch_size: Side of a patch in pixels.
        registers: Register tokens.
        class_token: It has one.
        grid: Side of the learned position grid in patches; 0 with rotary positions.
        hidden: Width inside the MLP.
        positions_of_prefix: The position grid also has entries for class token and registers.
        layer_scale: Residual branches are scaled per channel.
        qkv_bias: The projections to queries, keys and values have a bias.
    """

    timm_name: str
    width: int
    depth: int
    heads: int
    patch_size: int
    registers: int
    class_token: bool
    grid: int
    hidden: int
    positions_of_prefix: bool
    layer_scale: bool
    qkv_bias: bool

    def timm_settings(self) -> dict[str, Any]:
        """Arguments with which ``timm.create_model(timm_name)`` builds it; none for a model with rotary positions."""
        if not self.grid:
            return {}
        return {
            "img_size": self.grid * self.patch_size,
            "patch_size": self.patch_size,
            "embed_dim": self.width,
            "depth": self.depth,
            "num_heads": self.heads,
            "mlp_ratio": self.hidden / self.width,
            "qkv_bias": self.qkv_bias,
            "class_token": self.class_token,
            "global_pool": "token" if self.class_token else "avg",
            "reg_tokens": self.registers,
            "no_embed_class": not self.positions_of_prefix,
            "init_values": 1e-5 if self.layer_scale else None,
        }


def recognise(state: Mapping[str, Tensor], *, heads: int | None = None) -> Architecture:
    """Read the architecture off the tensors, in the naming of timm, DINO, DINOv2 or DINOv3.

    Args:
        state: Tensors by name.
        heads: Attention heads; by default the usual number for the width.

    Raises:
        ValueError: No vision transformer that is known here; the message says what to give instead.
    """
    advice = "give the timm name of the model beside the file"
    for key in ("patch_embed.proj.weight", "blocks.0.attn.qkv.weight"):
        if key not in state:
            shown = ", ".join(sorted(state)[:3]) or "nothing"
            raise ValueError(f"the file has no tensor {key} (it holds {shown}, ...): {advice}")
    if "norm_pre.weight" in state:
        raise ValueError(
            f"a norm before the first block, as CLIP's and PE's transformers have it, and their activation and rotary "
            f"positions leave no tensor to tell them by: {advice}"
        )
    width, _, patch, other = state["patch_embed.proj.weight"].shape
    if patch != other:
        raise ValueError(f"patches must be square, the file has {patch}x{other}")
    numbers = {int(m[1]) for k in state if (m := re.match(r"blocks\.(\d+)\.", k))}
    depth = max(numbers) + 1
    gated = any(f"blocks.0.mlp.{w}.weight" in state for w in ("w1", "w12", "fc1_g"))
    rotary = "pos_embed" not in state
    if rotary and (width, depth, gated) not in _ROTARY:
        raise ValueError(f"no learned positions, width {width}, depth {depth}: {advice}")
    if gated and not rotary:
        raise ValueError(f"a gated MLP with learned positions is not recognised by shape: {advice}")
    if heads is None and width not in HEADS:
        raise ValueError(
            f"width {width} has no usual number of attention heads: {advice} (in Python heads= of load_vfm does too)"
        )
    count = heads if heads is not None else HEADS[width]
    if width % count:
        raise ValueError(f"{count} heads do not divide the width {width}")
    grid, of_prefix = (0, False) if rotary else _grid(state)
    rotary_name = _ROTARY.get((width, depth, gated), "") + ("_qkvb" if has_qkv_bias(state) else "")
    registers = next(
        (state[k].shape[1] for k in ("reg_token", "register_tokens", "storage_tokens") if k in state), 0
    )
    return Architecture(
        timm_name=rotary_name if rotary else "vit_small_patch16_224",
        width=width,
        depth=depth,
        heads=count,
        patch_size=patch,
        registers=registers,
        class_token="cls_token" in state,
        grid=grid,
        hidden=0 if gated else state["blocks.0.mlp.fc1.weight"].shape[0],
        # DINOv2's own files give the class token a position, which timm's conversion folds into the token.
        positions_of_prefix=of_prefix and "register_tokens" not in state,
        layer_scale=any(f"blocks.0.{k}" in state for k in ("ls1.gamma", "gamma_1")),
        qkv_bias="blocks.0.attn.qkv.bias" in state,
    )


def has_qkv_bias(state: Mapping[str, Tensor]) -> bool:
    """Whether queries or values have a bias other than 0; that of the keys is masked in files that hold one."""
    for key, tensor in state.items():
        if key.endswith((".attn.q_bias", ".attn.v_bias")) and bool(tensor.any()):
            return True
        if key.endswith(".attn.qkv.bias"):
            queries, _, values = tensor.chunk(3)
            if bool(queries.any()) or bool(values.any()):
                return True
    return False


def _grid(state: Mapping[str, Tensor]) -> tuple[int, bool]:
    """Side of the square position grid, and whether entries for the prefix tokens come before it."""
    entries = state["pos_embed"].shape[1]
    registers = state["reg_token"].shape[1] if "reg_token" in state else 0
    for prefix in (0, 1, 1 + registers):
        side = math.isqrt(entries - prefix)
        if side * side == entries - prefix:
            return side, prefix > 0
    raise ValueError(f"the {entries} learned positions are no square grid; give the timm name of the model")
