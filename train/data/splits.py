# SPDX-License-Identifier: Apache-2.0
"""The train and val splits of the folders that a run is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pitviper.core.datasets import Dataset, DatasetError, open_dataset, require_own_names, split_lists


def open_splits(data: Iterable[str], *, unmasked: bool = False) -> tuple[list[Dataset], list[Dataset]]:
    """`train_splits` and `val_splits` of the same folders.

    Raises:
        DatasetError: As those do, or a frame is in both.
    """
    data = tuple(data)
    train, val = train_splits(data, unmasked=unmasked), val_splits(data)
    for held_out in val:
        trained = {sample.name for each in train if each.name == held_out.name for sample in each.samples}
        shared = [sample.name for sample in held_out.samples if sample.name in trained]
        if shared:
            raise DatasetError(
                f"{held_out.root}: {len(shared)} of the frames to train with are to judge too ({', '.join(shared[:3])}"
                f"{', ...' if len(shared) > 3 else ''}); take them out of one of the two lists"
            )
    return train, val


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


def require_known(upright: Iterable[str], splits: Iterable[Dataset]) -> None:
    """Refuse names of ``upright`` that no data set has.

    Raises:
        DatasetError: The message names those that there are.
    """
    known = {each.name for each in splits}
    if unknown := sorted(set(upright) - known):
        raise DatasetError(
            f"--upright {', '.join(unknown)}: no data set of that name is trained with; "
            f"there is {', '.join(sorted(known)) or 'none'}"
        )


def judged_splits(
    data: Iterable[str], judged: Iterable[Mapping[str, Any]], *, moved: Iterable[str] = ()
) -> list[Dataset]:
    """The val splits of a finished run, if they are still what it was judged on.

    Args:
        data: Folders of its settings.
        judged: ``validation`` of its summary: ``name`` and ``split_sha256`` of each set.
        moved: Where some of those folders lie now; each keeps the name that it had.

    Raises:
        DatasetError: A folder is no longer there, or its val split has other frames: some may have been trained with.
    """
    folders = _where_they_lie(data, moved)
    expected = {str(each["name"]): str(each["split_sha256"]) for each in judged}
    for root in folders:
        if not Path(root).is_dir():
            raise DatasetError(
                f"{root}: the run's data set is not there, seen from {Path.cwd()}; say where it lies now with "
                f"--data FOLDER (of the name {Path(root).name}), or go to where the run was started"
            )
    found = [each for each in val_splits(folders) if each.name in expected] if expected else []
    for name in expected:
        now = next((each for each in found if each.name == name), None)
        if now is None or now.split_sha256 != expected[name]:
            raise DatasetError(
                f"the val split of {name} has changed since the run (sha256 {expected[name][:16]}..., now "
                f"{now.split_sha256[:16] + '...' if now else 'none'}), so frames that were trained with may be in it: "
                "put its frames and lists back"
            )
    return found


def _where_they_lie(data: Iterable[str], moved: Iterable[str]) -> tuple[str, ...]:
    folders, now = tuple(data), {Path(each).resolve().name: each for each in moved}
    if unknown := sorted(now.keys() - {Path(each).name for each in folders}):
        raise DatasetError(
            f"--data {', '.join(now[name] for name in unknown)}: the run has no data set of that name; it has "
            f"{', '.join(sorted({Path(each).name for each in folders})) or 'none'}"
        )
    return tuple(now.get(Path(each).name, each) for each in folders)


def _is_val_only(root: str) -> bool:
    lists = split_lists(root)
    return "val" in lists and "train" not in lists
