# SPDX-License-Identifier: Apache-2.0
"""A checkpoint brings modules and optimiser back bit by bit, and is never half written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from pitviper.train import state
from pitviper.train.state import load_checkpoint, read_numbers, save_checkpoint


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
    module, optimizer = stepped(0, 1)
    save_checkpoint(tmp_path, modules={"task": module}, optimizer=optimizer, numbers={"epoch": 1})

    def full_disk(tensors: object, path: Path, metadata: object = None) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(state, "save_file", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(tmp_path, modules={"task": module}, optimizer=optimizer, numbers={"epoch": 2})
    assert read_numbers(tmp_path / "checkpoint.safetensors") == {"epoch": 1}


def test_no_pickle_in_a_checkpoint(tmp_path: Path) -> None:
    module, optimizer = stepped(0, 1)
    save_checkpoint(tmp_path, modules={"task": module}, optimizer=optimizer, numbers={})
    content = (tmp_path / "checkpoint.safetensors").read_bytes()
    assert b"\x80\x02" not in content[:2]
    assert content[8:9] == b"{", "safetensors: eight bytes of length, then a JSON header"
