# SPDX-License-Identifier: Apache-2.0
"""Data sets of single infrared frames with masks: which files belong together, and which split they are in.

Understood layouts, tried in this order below the root folder:

======================  =======================================================  ==========================
layout                  frames and masks                                         split lists
======================  =======================================================  ==========================
this project            ``images/NAME.*``, ``masks/NAME.*``                      ``splits/SPLIT.txt``
BasicIRSTD, LESPS       ``images/NAME.*``, ``masks/NAME.*``                      ``img_idx/SPLIT_SET.txt``
SIRST as published      ``images/NAME.*``, ``masks/NAME_pixels0.*``              ``idx_*/SPLIT.txt``
plain folders           ``images/`` with ``masks/``, each with its counterpart   none: draw by name, 5:1
background only         ``images/`` without ``masks/``: no target anywhere       none: all frames are ``train``
======================  =======================================================  ==========================

Lists of train (and test) without one of val: the same draw takes about a sixth of the listed train frames for val. The
draw asks the name of a frame alone, so no frame changes sides when others are added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitviper.core.images import IMAGE_SUFFIXES, ImageError, read_frame

__all__ = [
    "Dataset",
    "DatasetError",
    "Sample",
    "open_dataset",
    "read_frame",
    "read_mask",
    "read_sample",
    "require_own_names",
]

_MASK_THRESHOLD = 127
_DRAW_VAL_SHARE = 6


class DatasetError(ValueError):
    """A data set that cannot be used as it is; the message names the file or folder and the fix."""


@dataclass(frozen=True)
class Sample:
    """One frame and its mask file. ``mask`` is None for a frame that is known to hold no target."""

    name: str
    frame: Path
    mask: Path | None


@dataclass(frozen=True)
class Dataset:
    """One split of one data set.

    ``split_sha256`` is the SHA-256 of the sample names joined by newlines, in list order: it identifies the split
    in reports whatever the folder is called. ``drawn`` says that no list parted train from val.
    """

    name: str
    root: Path
    split: str
    samples: tuple[Sample, ...]
    split_sha256: str
    drawn: bool = False

    def __len__(self) -> int:
        return len(self.samples)


def open_dataset(root: str | Path, split: str = "val", *, unmasked: bool = False) -> Dataset:
    """Open one split of a data set in any of the layouts of this module.

    Args:
        root: Folder that holds ``images/``.
        split: ``"train"``, ``"val"``, ``"test"``, another list's name, or ``"all"`` for every frame with a mask
            (or every frame, in a background-only folder).
        unmasked: Listed frames may be without a mask, since something else than masks says where their targets are.

    Raises:
        DatasetError: The folder, a listed frame or a listed mask is missing, a list is empty, or the split does
            not exist; the message lists the splits that do.
    """
    root = Path(root)
    images = root / "images"
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder, seen from {Path.cwd()}")
    if not images.is_dir():
        raise DatasetError(f"{root}: no images/ folder; pass the folder that holds images/ (and masks/)")
    frames = _index(images)
    masks_folder = root / "masks"
    for folder in (images, masks_folder):
        _require_flat(folder, listed=bool(split_lists(root)))
    if not frames:
        raise DatasetError(f"{images}: holds no image files ({', '.join(sorted(IMAGE_SUFFIXES))})")
    background = not masks_folder.is_dir()
    masks = {} if background else _index(masks_folder)
    names = _names(root, split, frames, masks, background)
    if not names and split == "train" and not split_lists(root):
        raise DatasetError(
            f"{root}: no frame is left to train with: about a sixth, and at least one, was drawn for val; add "
            "frames, or list them in splits/train.txt and splits/val.txt"
        )
    if not names:
        raise DatasetError(f"{root}: split {split!r} is empty; {_available(root)}")
    samples = tuple(_sample(name, frames, masks, background or unmasked, root) for name in names)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    drawn = not background and split in {"train", "val"} and "val" not in split_lists(root)
    return Dataset(root.resolve().name, root, split, samples, digest, drawn)


def drawn_remark(dataset: Dataset) -> str:
    """What to say of a split that no list parted from the rest."""
    return (
        f"{dataset.root} has no list of val frames: about 1 of 6 train frames was drawn, by their names. "
        "Frames of one video resemble each other, so list them by video in splits/train.txt and splits/val.txt"
    )


def no_target_remark(name: str) -> str:
    """What to say of a data set with masks none of which holds a target."""
    return (
        f"{name}: none of its masks holds a target. A target is gray above 127: masks of 0 and 1 must become 0 and "
        "255, and coloured ones white"
    )


def require_own_names(datasets: Iterable[Dataset]) -> None:
    """Make sure that results, which carry the name of a data set, cannot be mixed up.

    One folder may be there several times, by any path that leads to it.

    Raises:
        DatasetError: Two folders have the same name.
    """
    seen: dict[str, Path] = {}
    for dataset in datasets:
        root = dataset.root.resolve()
        if seen.setdefault(dataset.name, root) != root:
            raise DatasetError(
                f"two data sets are called {dataset.name!r}: {seen[dataset.name]} and {root}; results carry that "
                "name, so rename one folder"
            )


def read_mask(path: str | Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a mask file; gray above 127 is target.

    Args:
        path: Single-channel (or equal-plane) image file.
        shape: (H, W) of the frame that it belongs to.

    Raises:
        DatasetError: The file is unreadable or has another size than its frame.
    """
    try:
        pixels = read_frame(path, colour="luma")
    except ImageError as error:
        raise DatasetError(f"mask {error}") from error
    if pixels.shape != shape:
        raise DatasetError(
            f"{path}: the mask is {pixels.shape[0]}x{pixels.shape[1]} but its frame is {shape[0]}x{shape[1]} (H x W); "
            "masks are never resized here: correct the file or leave the sample out of the split list"
        )
    mask: NDArray[np.bool_] = pixels > _MASK_THRESHOLD
    return mask


def read_sample(sample: Sample) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read a frame [H, W] in its native dtype and its bool mask [H, W] (all False for a background frame)."""
    try:
        frame = read_frame(sample.frame, colour="luma")
    except ImageError as error:
        raise DatasetError(f"frame {error}") from error
    shape = (frame.shape[0], frame.shape[1])
    if sample.mask is None:
        return frame, np.zeros(shape, np.bool_)
    return frame, read_mask(sample.mask, shape)


def _index(folder: Path) -> dict[str, Path]:
    files = (p for p in sorted(folder.iterdir()) if p.suffix.lower() in IMAGE_SUFFIXES)
    found: dict[str, Path] = {}
    for path in files:
        if path.stem in found:
            raise DatasetError(
                f"{folder}: {found[path.stem].name} and {path.name} share a name; keep one of them"
            )
        found[path.stem] = path
    return found


def _require_flat(folder: Path, *, listed: bool) -> None:
    """Without lists nobody has said that the images of subfolders are not to be used."""
    if listed or not folder.is_dir():
        return
    for below in sorted(path for path in folder.iterdir() if path.is_dir()):
        if any(path.suffix.lower() in IMAGE_SUFFIXES for path in below.iterdir()):
            raise DatasetError(
                f"{folder}: there are images in {below.name}/, and subfolders are not searched; move them up, pass "
                "each folder as a data set of its own, or list the frames to use in splits/train.txt and "
                "splits/val.txt"
            )


def split_lists(root: str | Path) -> dict[str, Path]:
    """The list files of a data set by the name of their split; none if nobody has made lists."""
    root = Path(root)
    lists = {p.stem: p for p in sorted(root.glob("splits/*.txt"))}
    for path in sorted(root.glob("img_idx/*.txt")):
        lists.setdefault(path.stem.split("_")[0], path)
    for path in sorted(root.glob("idx_*/*.txt")):
        lists.setdefault("train" if path.stem == "trainval" else path.stem, path)
    return lists


def _available(root: Path) -> str:
    lists = split_lists(root)
    return (
        f"available splits: {', '.join(sorted(lists))}, all" if lists else "it has no split lists, use 'all'"
    )


def _names(
    root: Path, split: str, frames: dict[str, Path], masks: dict[str, Path], background: bool
) -> list[str]:
    lists = split_lists(root)
    if split in {"train", "val"} and "train" in lists and "val" not in lists and not background:
        # The published layouts list train and test: val is a part of train, and no frame of test.
        listed = _listed(lists["train"], frames)
        masked = [n for n in listed if n in masks or f"{n}_pixels0" in masks]
        val = _drawn(masked)
        return [n for n in listed if (n in val) == (split == "val")]
    if split in lists:
        return _listed(lists[split], frames)
    every = (
        sorted(frames) if background else [n for n in sorted(frames) if n in masks or f"{n}_pixels0" in masks]
    )
    if split == "all" or (background and split == "train"):
        return every
    if lists or background or split not in {"train", "val"}:
        raise DatasetError(f"{root}: no split {split!r}; {_available(root)}")
    _require_counterparts(root, frames, masks)
    val = _drawn(every)
    return [n for n in every if (n in val) == (split == "val")]


def _listed(path: Path, frames: dict[str, Path]) -> list[str]:
    """Names of a list, which may carry the extension of their file."""
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: not UTF-8 ({error}); save the list as UTF-8") from error
    names = [line.strip() for line in lines if line.strip()]
    names = [
        n if n in frames or Path(n).suffix.lower() not in IMAGE_SUFFIXES else Path(n).stem for n in names
    ]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise DatasetError(f"{path}: names {', '.join(twice)} more than once; every frame counts once")
    return names


def _drawn(names: list[str]) -> set[str]:
    """The names that go to val, about a sixth and at least one. Whether one does hangs on no other, if any does."""
    digests = {name: hashlib.sha256(name.encode()).digest() for name in names}
    # A digest is a number below 2^256 in big-endian bytes; the lowest sixth of all numbers is val.
    limit = (2**256 // _DRAW_VAL_SHARE).to_bytes(32, "big")
    return {name for name in names if digests[name] < limit} or set(
        sorted(names, key=digests.__getitem__)[:1]
    )


def _require_counterparts(root: Path, frames: dict[str, Path], masks: dict[str, Path]) -> None:
    """Without lists nobody has said which files belong to the set, so none of them may be left out in silence."""
    bare = [frames[n].name for n in sorted(frames) if n not in masks and f"{n}_pixels0" not in masks]
    lone = [
        masks[n].name for n in sorted(masks) if n not in frames and n.removesuffix("_pixels0") not in frames
    ]
    if bare or lone:
        parts = [f"{_some(bare)} in images/ without a mask"] if bare else []
        parts += [f"{_some(lone)} in masks/ without a frame"] if lone else []
        raise DatasetError(
            f"{root}: {' and '.join(parts)}; a mask has the name of its frame, and one without targets is black. Add "
            "or remove files, or list those to use in splits/train.txt and splits/val.txt"
        )


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def _sample(name: str, frames: dict[str, Path], masks: dict[str, Path], unmasked: bool, root: Path) -> Sample:
    if name not in frames:
        raise DatasetError(f"{root}: the split list names {name!r} but images/ holds no such file")
    mask = masks.get(name) or masks.get(f"{name}_pixels0")
    if mask is None and not unmasked:
        raise DatasetError(
            f"{root}: {frames[name].name} has no mask ({name}.* or {name}_pixels0.* in masks/)"
        )
    return Sample(name, frames[name], mask)
