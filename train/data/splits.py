# SPDX-License-Identifier: Apache-2.0
"""The train and val splits of the folders that a run is given."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pitviper.core.datasets import Dataset, DatasetError, open_dataset, require_own_names, split_lists


def open_splits(data: Iterable[str], *, unmasked: bool = False) -> tuple[list[Dataset], list[Dataset]]:
    """`train_splits` and `val_splits` of the same folders."""
    data = tuple(data)
    return train_splits(data, unmasked=unmasked), val_splits(data)


def train_splits(data: Iterable[str], *, unmasked: bool = False) -> list[Dataset]:
    """Train splits of every folder, one that is given twice twice; a folder whose only list is of val frames has none.

    Args:
        data: Folders, in any layout of ``core.datasets``.
        unmasked: Listed frames need no mask: their labels are points of a file.

    Raises:
        DatasetError: A broken data set, two folders of the same name, or no train split at all.
    """
    folders = tuple(data)
    splits = [open_dataset(root, "train", unmasked=unmasked) for root in folders if not _is_val_only(root)]
    if folders and not splits:
        raise DatasetError(
            f"{', '.join(folders)}: there are val frames alone; give a folder with frames to train with"
        )
    require_own_names(splits)
    return splits


def val_splits(data: Iterable[str]) -> list[Dataset]:
    """Val splits of every folder, one that is given twice once; a background-only folder has none.

    Raises:
        DatasetError: A broken data set.
    """
    opened = [open_dataset(root, "val") for root in data if (Path(root) / "masks").is_dir()]
    return list({each.name: each for each in opened}.values())


def _is_val_only(root: str) -> bool:
    lists = split_lists(root)
    return "val" in lists and "train" not in lists
