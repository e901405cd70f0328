# SPDX-License-Identifier: Apache-2.0
"""The foundation model that a run names: a timm model, a local file, or random weights that are called so."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from pitviper.core.vfm import CachedVFM, FrozenVFM, TinyRandomViT, load_vfm
from pitviper.core.vfm.hub import read_header
from pitviper.core.vfm.tiny_vit import TinyViTBackbone
from pitviper.train.config import FDEPConfig
from pitviper.train.data.splits import train_splits
from pitviper.train.data.store import SYNTHETIC_SIDE
from pitviper.train.point_config import SemanticPriorsConfig
from pitviper.train.processes import speaks_for_all
from pitviper.train.remarks import say

TINY = "tiny-random"
RANDOM = "random"


@dataclass(frozen=True)
class FeatureCache:
    """Folder in which features are kept from one epoch, and one run, to the next, and its largest size in GiB."""

    folder: Path
    limit_gib: float = 20.0


def open_vfm(config: FDEPConfig, *, download: bool = False) -> FrozenVFM:
    """Load what ``config`` names; touches the network only with ``download``.

    Raises:
        ValueError: Nothing is named, a file is broken or given for random weights, or as in ``load_vfm``.
        FileNotFoundError, ImportError: As in ``load_vfm``.
    """
    name, weights = config.vfm, config.vfm_weights
    if not name and not weights:
        raise ValueError(
            "this recipe needs a foundation model: pass --vfm NAME (of timm), --vfm-weights FILE, or --vfm tiny-random "
            "for a dry run"
        )
    kind, _, architecture = name.partition(":")
    drawn = name == TINY or kind == RANDOM
    if drawn and (download or (weights and name != RANDOM)):
        raise ValueError(
            f"{name} has random weights; leave out --vfm-weights and --download, or name another"
        )
    levels, scale = config.levels or None, config.vfm_scale
    if name == TINY:
        return FrozenVFM(TinyRandomViT(config.seed), levels=levels, scale=scale)
    if drawn and not weights:
        if not architecture:
            raise ValueError(
                "random weights need an architecture: --vfm random:NAME (of timm), or --vfm-weights FILE"
            )
        return load_vfm(architecture, seed=config.seed, levels=levels, scale=scale)
    if not weights:
        return load_vfm(name, levels=levels, download=download, scale=scale)
    if download:
        raise ValueError(f"--vfm-weights names the local file {weights}; leave out --download")
    try:
        if drawn:
            return load_vfm(weights=weights, seed=config.seed, levels=levels, scale=scale)
        vfm = load_vfm(name or None, weights=weights, levels=levels, scale=scale)
        told = name or "mean" in read_header(weights) or isinstance(vfm.backbone, TinyViTBackbone)
        if not told and speaks_for_all():
            say(
                f"{weights} says neither what model it is nor how frames are scaled: its shapes were read, and "
                "ImageNet's mean and deviation taken, as DINO's models have them; name the model with --vfm for its own"
            )
        return vfm
    except (OSError, ImportError):
        raise
    except ValueError as error:
        raise ValueError(f"{weights}: {error}") from error
    except Exception as error:  # what torch and safetensors raise for a broken file has no common class
        reason = f"{type(error).__name__}: {error}".partition("\n")[0].partition(". ")[0]
        raise ValueError(
            f"{weights} cannot be read as weights ({reason}); give a .safetensors file, or a .pth file of tensors alone"
        ) from error


def open_all_levels(
    config: SemanticPriorsConfig, *, download: bool = False
) -> tuple[FrozenVFM, dict[str, Any]]:
    """The model for SCAM, by default with the output of every block, and its description.

    Raises:
        ValueError, FileNotFoundError, ImportError: As in ``open_vfm``.
    """
    chosen = FDEPConfig(
        vfm=config.vfm,
        vfm_weights=config.vfm_weights,
        levels=config.levels,
        vfm_scale=config.vfm_scale,
        seed=config.seed,
    )
    vfm = open_vfm(chosen, download=download)
    if not config.levels:
        every = range(1, vfm.backbone.depth + 1)
        mean, std = vfm.mean.flatten().tolist(), vfm.std.flatten().tolist()
        vfm = FrozenVFM(vfm.backbone, levels=every, mean=mean, std=std, scale=vfm.scale)
    return vfm, describe_vfm(chosen, vfm)


def cached(vfm: FrozenVFM, config: FDEPConfig, cache: FeatureCache) -> CachedVFM:
    """The same model with its features kept on disk.

    Raises:
        ValueError: No crop of the run would come twice: it warps or disturbs crops, or cuts parts out of frames.
    """
    changed = [name for name in ("warp", "photometric") if getattr(config.augmentation, name)]
    if changed:
        raise ValueError(
            f"a feature cache needs crops that come again, but augmentation.{' and augmentation.'.join(changed)} make "
            'each crop another one: leave --vfm-cache out, or set them to 0 in the "augmentation" of --config '
            "(turns and mirrors may stay: they give a frame 8 forms)"
        )
    if config.plant:
        raise ValueError(
            "a feature cache needs crops that come again, but --plant makes each crop another one: leave one of the "
            "two out"
        )
    smallest = min(size for _, size in config.crops)
    for dataset in train_splits(config.data):
        for sample in dataset.samples:
            with Image.open(sample.frame) as image:
                side = max(image.size)
            if side > smallest:
                raise ValueError(
                    f"a feature cache needs whole frames, but {sample.frame.name} of {dataset.name} is "
                    f"{image.width}x{image.height} pixels and crops of {smallest} pixels are cut out of it at random: "
                    f"leave --vfm-cache out, or take crops of at least {side} pixels"
                )
    if config.synthetic and smallest < SYNTHETIC_SIDE:
        raise ValueError(
            f"a feature cache needs whole frames, but synthetic frames have {SYNTHETIC_SIDE} pixels a side and crops "
            f"{smallest}: leave --vfm-cache out, or take larger crops"
        )
    return CachedVFM(vfm, cache.folder, limit_gib=cache.limit_gib)


def describe_vfm(config: FDEPConfig, vfm: FrozenVFM) -> dict[str, Any]:
    """What a run's summary says of its foundation model: what it is, how it is fed, and the hash of its file."""
    facts: dict[str, Any] = {
        "name": _shown_name(config),
        "levels": list(vfm.levels),
        "dim": vfm.D,
        "patch_size": vfm.patch_size,
        "scale": vfm.scale,
        "mean": vfm.mean.flatten().tolist(),
        "std": vfm.std.flatten().tolist(),
    }
    if config.vfm_weights:
        with Path(config.vfm_weights).open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
        facts["sha256"] = digest.hexdigest()
    return facts


def _shown_name(config: FDEPConfig) -> str:
    file = Path(config.vfm_weights).name
    if config.vfm == RANDOM:
        return f"random weights in the architecture of {file}"
    return config.vfm or file
