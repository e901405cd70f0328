# SPDX-License-Identifier: Apache-2.0
"""Vision transformers of timm as frozen foundation models: by name, from the hub's cache, or from a local file."""

from __future__ import annotations

import importlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pitviper.core.vfm.adapter import IMAGENET_MEAN, IMAGENET_STD, Backbone, FrozenVFM
from pitviper.core.vfm.architecture import has_qkv_bias, recognise
from pitviper.core.vfm.tiny_vit import MOBILE_SAM, TinyViTBackbone, from_mobile_sam, is_mobile_sam

# What the features before the final norm do not use may be missing; what training alone uses may be left over.
_MAY_BE_MISSING = ("norm.", "fc_norm.", "head.", "head_dist.", "head_drop.")
_MAY_BE_LEFT_OVER = (*_MAY_BE_MISSING, "mask_token", "cls_head.", "dino_head.", "ibot_head.")


_HEADER = "vfm"
_TINY_VIT = "tiny_vit"


class TimmBackbone(Backbone):
    """A vision transformer of timm.

    Args:
        model: What ``timm.create_model`` returns for a vision transformer.

    Raises:
        ValueError: The model is no plain vision transformer with one square patch size.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        parts = ("patch_embed", "blocks", "forward_intermediates", "embed_dim")
        missing = [p for p in parts if not hasattr(model, p)]
        if missing:
            raise ValueError(
                f"{type(model).__name__} is no vision transformer of timm: it has no {', '.join(missing)}; "
                f"take one whose name begins with vit_, eva or tiny_vit"
            )
        net: Any = model
        if (
            not isinstance(getattr(net.patch_embed, "proj", None), nn.Conv2d)
            or net.patch_embed.proj.in_channels != 3
        ):
            raise ValueError(
                f"{type(model).__name__} does not take its patches from the picture itself (a hybrid); take a plain "
                "vision transformer"
            )
        patch = tuple(net.patch_embed.patch_size)
        if patch[0] != patch[1]:
            raise ValueError(f"patches must be square, this model has {patch[0]}x{patch[1]}")
        self.model = net
        self.patch_size = int(patch[0])
        self.dim = int(net.embed_dim)
        self.depth = len(net.blocks)

    def intermediate(self, images: Tensor, levels: Sequence[int]) -> list[Tensor]:
        maps: list[Tensor] = self.model.forward_intermediates(
            images,
            indices=[level - 1 for level in levels],
            norm=False,
            stop_early=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        return maps


def load_vfm(
    name: str | None = None,
    *,
    weights: str | Path | None = None,
    levels: Sequence[int] | None = None,
    heads: int | None = None,
    seed: int | None = None,
    download: bool = False,
    scale: int = 1,
) -> FrozenVFM:
    """A frozen vision transformer of timm, with weights from one named place. Touches the network only on request.

    Give a ``name`` alone for the weights of the hub (from its local cache, or fetched with ``download``), ``weights``
    for a local file, or ``seed`` for random weights, as an ablation: in a named architecture, or in that of a file,
    whose own weights are then not taken.

    Args:
        name: Of timm, for instance "vit_small_patch14_reg4_dinov2.lvd142m", "vit_small_plus_patch16_dinov3" or
            "tiny_vit_5m_224.dist_in22k". May be left out with ``weights``: the architecture is then read off the names
            and shapes of the tensors.
        weights: A .safetensors file, or a .pth or .bin file that holds tensors alone.
        levels: As in ``FrozenVFM``.
        heads: Attention heads, for a file of a width that has no usual number of them.
        seed: Random weights in the named architecture, or in that of the file.
        download: Allow fetching the weights from the hub into its cache.
        scale: As in ``FrozenVFM``.

    Returns:
        The frozen model, with the mean and standard deviation that its file states, else those of its own data
        configuration, else (a file alone that states none) ImageNet's.

    Raises:
        ImportError: timm is not installed or cannot be imported.
        FileNotFoundError: No such file, or the weights are not in the cache and ``download`` is false.
        ValueError: Unknown name, a file of another architecture, or a contradiction in the arguments.
    """
    if weights is not None and download:
        raise ValueError("weights names a file, so download cannot be given with it")
    if seed is not None and download:
        raise ValueError("give seed for random weights or download for those of the hub, not both")
    if name is None and weights is None:
        raise ValueError("load_vfm needs the name of a timm model, weights=FILE, or both")
    if weights is not None and not Path(weights).is_file():
        raise FileNotFoundError(f"no weights file at {weights}")
    state = None if weights is None else _read(Path(weights))
    if state is not None:
        _require_naming(state, Path(weights or ""))
    stated = {} if weights is None else read_header(weights)
    name = name or stated.get("timm")
    if name is None and state is not None and is_mobile_sam(state):
        name = MOBILE_SAM
    if name is None:
        assert state is not None
        architecture = recognise(state, heads=heads)
        name, settings = architecture.timm_name, architecture.timm_settings()
    else:
        settings = {"num_heads": heads} if heads is not None else {}
    model = _create(name, settings, seed=seed or 0)
    backbone = TinyViTBackbone(model) if name.startswith(_TINY_VIT) else TimmBackbone(model)
    config = dict(model.pretrained_cfg) if settings.keys() <= {"num_heads"} else {}
    if seed is None:
        source = Path(weights) if weights is not None else _hub_file(name, config, download=download)
        _load(model, _read(source) if state is None else state, source)
    known = config | stated
    return FrozenVFM(
        backbone,
        levels=levels,
        mean=known.get("mean", IMAGENET_MEAN),
        std=known.get("std", IMAGENET_STD),
        scale=scale,
    )


def header(*, mean: Sequence[float], std: Sequence[float], timm: str | None = None) -> dict[str, str]:
    """Metadata of a safetensors file of a vision transformer, by which `load_vfm` feeds it as it was trained.

    Args:
        mean: Of each of the three planes, which are in [0, 1].
        std: Likewise.
        timm: Its name in timm, where the shapes of its tensors do not say what it is.
    """
    return {_HEADER: json.dumps({"mean": list(mean), "std": list(std)} | ({"timm": timm} if timm else {}))}


def read_header(path: str | Path) -> dict[str, Any]:
    """What `header` wrote: ``mean``, ``std`` and maybe ``timm``; nothing of a file without it."""
    if Path(path).suffix != ".safetensors":
        return {}
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        found = (file.metadata() or {}).get(_HEADER)
    stated: dict[str, Any] = json.loads(found) if found else {}
    return stated


def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except (ImportError, RuntimeError) as error:  # torchvision of another torch raises RuntimeError
        raise ImportError(
            f"load_vfm needs timm, which cannot be imported ({error}); install it with: pip install 'pitviper[train]'"
        ) from error


def _create(name: str, settings: Mapping[str, Any], *, seed: int) -> Any:
    """Build the architecture with random weights; never asks the network."""
    timm = _timm()
    if ":" in name or not timm.is_model(name):
        close = timm.list_models(f"*{name.split('.')[0]}*")[:8]
        hint = f"; near it: {', '.join(close)}" if close else ""
        raise ValueError(f"timm {timm.__version__} has no model {name!r}{hint}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            # A TinyViT takes images of any size without being asked.
            sized = {} if name.startswith(_TINY_VIT) else {"dynamic_img_size": True}
            return timm.create_model(name, pretrained=False, num_classes=0, **sized, **settings)
        except TypeError as error:
            raise ValueError(
                f"{name} is no vision transformer that takes images of any size: {error}"
            ) from error
        except RuntimeError as error:  # a tag that timm does not know
            plain = name.split(".")[0]
            tags = ", ".join(timm.list_pretrained(f"{plain}.*")) or "none"
            raise ValueError(
                f"timm {timm.__version__} cannot make {name!r}: {error}; with weights: {tags}"
            ) from error


def _hub_file(name: str, config: Mapping[str, Any], *, download: bool) -> Path:
    repository = config.get("hf_hub_id")
    if not repository:
        raise FileNotFoundError(
            f"timm knows no weights for {name!r}: name one of its pretrained tags, or pass weights=FILE"
        )
    hub = importlib.import_module("huggingface_hub")
    try:
        found = hub.hf_hub_download(repository, "model.safetensors", local_files_only=not download)
    except (OSError, ValueError) as error:
        how = (
            f"fetching them failed ({error})"
            if download
            else f"pass download=True (--download) to fetch them from {repository} (some need an account and a "
            "licence agreement)"
        )
        raise FileNotFoundError(
            f"the weights of {name} are not on this machine: {how}, or pass weights=FILE (--vfm-weights) with a local "
            f".safetensors file, or seed=0 (--vfm random:NAME) for random weights"
        ) from error
    return Path(found)


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state = load_file(path)
    else:
        state = _read_pickle(path)
    # What DistributedDataParallel saves has the one prefix, what the trainings of DINO and DINOv2 save the other.
    return {key.removeprefix("module.").removeprefix("backbone."): value for key, value in state.items()}


def _read_pickle(path: Path) -> dict[str, Tensor]:
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError(f"{path.name} holds a {type(state).__name__}; save the state dict of the model")
    for key in ("teacher", "model", "state_dict"):
        state = state[key] if isinstance(state.get(key), dict) else state
    if not all(isinstance(v, Tensor) for v in state.values()):
        raise ValueError(f"{path.name} holds more than tensors; save the state dict of the model alone")
    return dict(state)


def _require_naming(state: Mapping[str, Tensor], path: Path) -> None:
    if any(key.startswith("embeddings.patch_embeddings.") for key in state):
        raise ValueError(
            f"{path.name} names its tensors as the library transformers does; take the model.safetensors of timm's "
            "repository of the same model, or the .pth file of its authors"
        )


def _load(model: Any, state: dict[str, Tensor], source: Path) -> None:
    """Load into the model, with timm's own conversion of published formats; every tensor must fit."""
    if is_mobile_sam(state):
        state = from_mobile_sam(state)
    if (
        "storage_tokens" in state
        and has_qkv_bias(state)
        and getattr(model.blocks[0].attn, "q_bias", None) is None
    ):
        raise ValueError(
            f"{source.name} has biases that this architecture lacks: take the timm name with _qkvb in it"
        )
    _require_grid(model, state, source)
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    converted = convert(dict(state), model) if convert is not None else state
    own = model.state_dict()
    missing = sorted(k for k in own if k not in converted and not k.startswith(_MAY_BE_MISSING))
    extra = sorted(k for k in converted if k not in own and not k.startswith(_MAY_BE_LEFT_OVER))
    other = sorted(k for k in converted if k in own and converted[k].shape != own[k].shape)
    for problem, keys in (("lacks", missing), ("also holds", extra), ("has another shape of", other)):
        if keys:
            raise ValueError(
                f"{source.name} is not of this architecture: it {problem} {len(keys)} tensors, such as "
                f"{', '.join(keys[:3])}; give the timm name that it was made with"
            )
    model.load_state_dict({k: v for k, v in converted.items() if k in own}, strict=False)


def _require_grid(model: Any, state: Mapping[str, Tensor], source: Path) -> None:
    """Refuse what timm's conversion would resample without a word: other patches, windows, positions of other grids."""
    for key, own in model.state_dict().items():
        if key.endswith(".attention_biases") and key in state and state[key].shape != own.shape:
            raise ValueError(
                f"{source.name} has windows of another size than this architecture ({key}: {list(state[key].shape)} "
                f"and {list(own.shape)}); give the timm name that it was made with"
            )
    if not hasattr(model.patch_embed, "proj"):
        return
    kernel, own_kernel = state.get("patch_embed.proj.weight"), model.patch_embed.proj.weight
    if kernel is not None and kernel.ndim == 4 and kernel.shape[-2:] != own_kernel.shape[-2:]:
        raise ValueError(
            f"{source.name} has patches of {kernel.shape[-2]}x{kernel.shape[-1]} pixels and this architecture of "
            f"{own_kernel.shape[-2]}x{own_kernel.shape[-1]}; give the timm name that it was made with, or none"
        )
    positions, own_positions = state.get("pos_embed"), getattr(model, "pos_embed", None)
    if positions is None or own_positions is None or positions.ndim != 3:
        return
    # A class or register token more or less does not change the whole root of the number.
    side, own_side = math.isqrt(positions.shape[1]), math.isqrt(own_positions.shape[1])
    if side != own_side:
        raise ValueError(
            f"{source.name} has positions of {side}x{side} patches and this architecture of {own_side}x{own_side}; "
            "give the timm name that it was made with, or none: the architecture is then read off the file"
        )
