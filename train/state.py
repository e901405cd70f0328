# SPDX-License-Identifier: Apache-2.0
"""Checkpoints to resume from: tensors in safetensors, numbers in JSON, no pickle; written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from pitviper.core.atomic import write_whole

CHECKPOINT = "checkpoint.safetensors"
"""Name of a checkpoint in its run folder."""


class Stateful(Protocol):
    """A module, or anything else whose state is tensors by name."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Its state; the tensors are not changed by who gets them."""

    def load_state_dict(self, state: dict[str, Tensor], /) -> object:
        """Restore what ``state_dict`` gave."""


def save_checkpoint(
    folder: Path,
    *,
    modules: Mapping[str, Stateful],
    optimizer: torch.optim.Optimizer,
    numbers: dict[str, Any],
) -> None:
    """Write module states, optimiser state and numbers to ``folder``, replacing the last checkpoint atomically.

    Args:
        folder: Run folder; created when missing.
        modules: Modules and other states by name; names hold no slash.
        optimizer: Its state per parameter must be tensors and single numbers, which come back as tensors.
        numbers: JSON-safe mapping (epoch, config, history).

    Raises:
        OSError: It cannot be written; the last checkpoint is kept.
    """
    tensors = {
        f"{name}/{key}": value.detach().cpu().contiguous()
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {
            f"optimizer/{index}/{key}": torch.as_tensor(value).detach().cpu().contiguous()
            for key, value in state.items()
        }
    content = save(tensors, metadata={"numbers": json.dumps(numbers)})
    try:
        write_whole(folder / CHECKPOINT, content)
    except OSError as error:
        kept = "the one before is kept" if (folder / CHECKPOINT).exists() else "there is none yet"
        raise OSError(
            f"the checkpoint of {len(content) / 1e6:.1f} MB cannot be written to {folder}: {error.strerror or error}; "
            f"{kept}. Make room, then go on with --resume"
        ) from error


def load_checkpoint(
    folder: Path,
    *,
    modules: Mapping[str, Stateful],
    optimizer: torch.optim.Optimizer,
    check: Callable[[dict[str, Any]], None] = lambda numbers: None,
) -> dict[str, Any] | None:
    """Restore what ``save_checkpoint`` wrote and return its numbers, or None when the folder holds none.

    ``check`` gets the numbers before anything is restored, and raises where the checkpoint is of another run.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    numbers = read_numbers(path)
    check(numbers)
    tensors = load_file(path)
    for name, module in modules.items():
        module.load_state_dict(
            {k.split("/", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{name}/")}
        )
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer/"):
            _, index, field = key.split("/")
            state.setdefault(int(index), {})[field] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return numbers


def load_module(folder: Path, name: str, module: nn.Module, *, inner: str = "") -> None:
    """Restore one module of a checkpoint alone; ``inner`` names a part of what was saved, with its last dot.

    Raises:
        FileNotFoundError: The folder holds no checkpoint.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no {CHECKPOINT}, which alone keeps what only training needs")
    prefix = f"{name}/{inner}"
    found = {k.removeprefix(prefix): v for k, v in load_file(path).items() if k.startswith(prefix)}
    module.load_state_dict(found)


def read_numbers(path: Path) -> dict[str, Any]:
    """The JSON numbers of a checkpoint file, without its tensors.

    Raises:
        ValueError: The file is damaged or no checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            numbers: dict[str, Any] = json.loads(file.metadata()["numbers"])
    except (SafetensorError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no checkpoint of a run, or is damaged ({error})") from error
    return numbers
