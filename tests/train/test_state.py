# SPDX-License-Identifier: Apache-2.0
"""A checkpoint brings modules and optimiser back bit by bit, and is never half written."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pitviper.core.atomic import write_whole
from pitviper.train.state import load_checkpoint, read_numbers, save_checkpoint

DiskOf = Callable[[int], AbstractContextManager[None]]


def stepped(seed: int, steps: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    optimizer = torch.optim.AdamW(
        [
            {"params": [module[0].weight], "weight_decay": 0.1},
            {"params": [module[0].bias], "weight_decay": 0.0},
        ],
        lr=0.1,
    )
    for _ in range(steps):
        module(torch.randn(2, 1, 5, 5)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    return module, optimizer


def test_round_trip(tmp_path: Path) -> None:
    module, optimizer = stepped(0, 3)
    save_checkpoint(tmp_path, modules={"task": module}, optimizer=optimizer, numbers={"epoch": 3})
    other, other_optimizer = stepped(1, 1)
    found = load_checkpoint(tmp_path, modules={"task": other}, optimizer=other_optimizer)
    assert found == {"epoch": 3} == read_numbers(tmp_path / "checkpoint.safetensors")
    for key, value in module.state_dict().items():
        assert torch.equal(value, other.state_dict()[key])
    torch.manual_seed(5)
    x = torch.randn(2, 1, 5, 5)
    for m, o in ((module, optimizer), (other, other_optimizer)):
        m(x).square().sum().backward()
        o.step()
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))
    assert [g["weight_decay"] for g in other_optimizer.param_groups] == [0.1, 0.0]


def test_empty_folder(tmp_path: Path) -> None:
    module, optimizer = stepped(0, 0)
    assert load_checkpoint(tmp_path, modules={"task": module}, optimizer=optimizer) is None


def test_a_failed_save_keeps_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full halfway through the file, and again on the very first write of a run."""
    module, optimizer = stepped(0, 1)

    def save(folder: Path, epoch: int) -> None:
        save_checkpoint(folder, modules={"task": module}, optimizer=optimizer, numbers={"epoch": epoch})

    save(tmp_path, 1)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    real = Path.open

    def full_disk(self: Path, *arguments: Any, **named: Any) -> Any:
        file = real(self, *arguments, **named)
        return FullDisk(file) if self.name.endswith(".partial") else file

    monkeypatch.setattr(Path, "open", full_disk)
    message = r"the checkpoint of 0\.0 MB cannot be written to .*: No space left on device; "
    with pytest.raises(
        OSError, match=message + "the one before is kept. Make room, then go on with --resume"
    ):
        save(tmp_path, 2)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.safetensors"], "the half file is gone"
    with pytest.raises(OSError, match=message + "there is none yet"):
        save(tmp_path / "other", 1)


class FullDisk:
    """A file that takes half of what it is given, as the last file of a full disk does."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def write(self, content: bytes) -> int:
        self.file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_limit_of_the_system(tmp_path: Path, disk_of: DiskOf) -> None:
    """The real system call fails, not a stand-in."""
    path = tmp_path / "weights.safetensors"
    write_whole(path, b"old")
    with disk_of(1 << 16), pytest.raises(OSError, match=r"File too large: '.*weights\.safetensors'"):
        write_whole(path, bytes(1 << 17))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    module, optimizer = stepped(0, 1)
    save_checkpoint(tmp_path, modules={"task": module}, optimizer=optimizer, numbers={"epoch": 1})
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is no checkpoint of a run, or is damaged"):
        load_checkpoint(tmp_path, modules={"task": module}, optimizer=optimizer)


def test_no_pickle_in_a_checkpoint(tmp_path: Path) -> None:
    module, optimizer = stepped(0, 1)
    save_checkpoint(tmp_path, modules={"task": module}, optimizer=optimizer, numbers={})
    content = (tmp_path / "checkpoint.safetensors").read_bytes()
    assert b"\x80\x02" not in content[:2]
    assert content[8:9] == b"{", "safetensors: eight bytes of length, then a JSON header"
