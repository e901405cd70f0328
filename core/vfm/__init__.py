# SPDX-License-Identifier: Apache-2.0
"""Frozen vision foundation models (VFM) for training. Needs torch; ``load_vfm`` also needs timm (extra ``train``)."""

from pitviper.core.vfm.adapter import Backbone, FrozenVFM, default_levels, to_unit_range
from pitviper.core.vfm.cache import CachedVFM, CacheFull
from pitviper.core.vfm.hub import load_vfm
from pitviper.core.vfm.tiny import TinyRandomViT

__all__ = [
    "Backbone",
    "CacheFull",
    "CachedVFM",
    "FrozenVFM",
    "TinyRandomViT",
    "default_levels",
    "load_vfm",
    "to_unit_range",
]
