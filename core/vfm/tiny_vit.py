# SPDX-License-Identifier: Apache-2.0
"""TinyViT of timm as a foundation model, and the files of MobileSAM, whose image encoder is one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from pitviper.core.vfm.adapter import Backbone

MOBILE_SAM = "tiny_vit_5m_224"
"""The timm model that MobileSAM's image encoder is, up to the stride of its last stage, which is not used here."""

_STAGE = 2
_ENCODER = "image_encoder."
# SAM's own layers behind the transformer, and buffers that follow from the window size.
_NOT_OF_IT = ("neck.", "norm_head.", "head.")
_DERIVED = ".attention_bias_idxs"


class TinyViTBackbone(Backbone):
    """The transformer blocks of the third stage of a TinyViT (Wu et al., ECCV 2022): one width, patches of 16 pixels.

    The first two stages are what embeds the patches; the fourth, of another width, is left out. Attention is within
    windows, so what lies in a corner of a frame does not change the features far from it.

    Args:
        model: What ``timm.create_model`` returns for a name that begins with tiny_vit.

    Attributes:
        patch_size: 16.
        dim: Width of the third stage; 160 in the model of 5 million parameters.
        depth: Its blocks; 6.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        stage = model.stages[_STAGE]
        self.embed = model.patch_embed
        self.stages = model.stages[:_STAGE]
        self.downsample = stage.downsample
        self.blocks = stage.blocks
        self.patch_size = 4 * 2**_STAGE
        self.dim = int(stage.blocks[0].dim)
        self.depth = len(stage.blocks)

    def intermediate(self, images: Tensor, levels: Sequence[int]) -> list[Tensor]:
        features = self.downsample(self.stages(self.embed(images))).permute(0, 2, 3, 1)
        maps = []
        for number, block in enumerate(self.blocks[: levels[-1]], start=1):
            features = block(features)
            if number in levels:
                maps.append(features.permute(0, 3, 1, 2))
        return maps


def is_mobile_sam(state: Mapping[str, Tensor]) -> bool:
    """Whether a file is that of MobileSAM: SAM's parts, with a TinyViT as image encoder."""
    return f"{_ENCODER}patch_embed.seq.0.c.weight" in state


def from_mobile_sam(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The TinyViT of a MobileSAM file (Zhang et al., arXiv 2306.14289) in timm's naming; SAM's other parts are left."""
    own = (key.removeprefix(_ENCODER) for key in state if key.startswith(_ENCODER))
    kept = (key for key in own if not key.startswith(_NOT_OF_IT) and not key.endswith(_DERIVED))
    return {_timm_name(key): state[_ENCODER + key] for key in kept}


def _timm_name(key: str) -> str:
    """There a stage ends with its downsampling, in timm the next one begins with it."""
    key = re.sub(r"^layers\.(\d+)\.downsample", lambda found: f"stages.{int(found[1]) + 1}.downsample", key)
    key = re.sub(r"^layers\.", "stages.", key)
    key = key.replace("patch_embed.seq.0.", "patch_embed.conv1.").replace(
        "patch_embed.seq.2.", "patch_embed.conv2."
    )
    return key.replace(".c.", ".conv.")
