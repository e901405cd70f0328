# SPDX-License-Identifier: Apache-2.0
"""Features from disk are those that were computed, of this model and this frame; damage is seen, size is kept."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from pitviper.core.vfm import CachedVFM, CacheFull, FrozenVFM, TinyRandomViT
from pitviper.core.vfm.cache import GIB


def draw(count: int, *, size: tuple[int, int] = (48, 40), seed: int = 0) -> Tensor:
    return torch.randn((count, 1, *size), generator=torch.Generator().manual_seed(seed))


def equal(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*"))


def counts(vfm: CachedVFM) -> tuple[int, int]:
    return vfm.hits, vfm.misses


@pytest.fixture
def vfm() -> FrozenVFM:
    return FrozenVFM(TinyRandomViT(), levels=(2, 4))


def test_the_second_time_comes_from_disk(vfm: FrozenVFM, tmp_path: Path) -> None:
    frames = draw(3)
    one_by_one = [torch.cat(level) for level in zip(*(vfm(f[None]) for f in frames), strict=True)]
    first = CachedVFM(vfm, tmp_path)
    assert equal(first(frames), one_by_one)
    assert counts(first) == (0, 3)
    again = CachedVFM(vfm, tmp_path)
    assert equal(again(frames.flip(0)), [level.flip(0) for level in one_by_one]), "in any order and batch"
    assert counts(again) == (3, 0)
    assert (again.L, again.D, again.levels, again.patch_size) == (vfm.L, vfm.D, vfm.levels, vfm.patch_size)
    for a, b in zip(first(frames), vfm(frames), strict=True):
        assert float((a - b).abs().max()) < 1e-5 * float(b.abs().max()), "the rounding of another batch size"
    assert len(files(tmp_path)) == 3


def test_a_part_of_a_batch_may_be_known(vfm: FrozenVFM, tmp_path: Path) -> None:
    frames = draw(4)
    want = CachedVFM(vfm, tmp_path / "whole")(frames)
    cached = CachedVFM(vfm, tmp_path / "part")
    cached(frames[1:3])
    assert equal(cached(frames), want)
    assert counts(cached) == (2, 4)


def test_another_model_frame_or_precision_is_another_key(vfm: FrozenVFM, tmp_path: Path) -> None:
    frame = draw(1)
    CachedVFM(vfm, tmp_path)(frame)
    one_pixel = frame.clone()
    one_pixel[0, 0, 5, 7] += 1e-6
    others = [
        (CachedVFM(FrozenVFM(TinyRandomViT(1), levels=(2, 4)), tmp_path), frame),
        (CachedVFM(FrozenVFM(TinyRandomViT(), levels=(3, 4)), tmp_path), frame),
        (CachedVFM(FrozenVFM(TinyRandomViT(), levels=(2, 4), mean=(0.1, 0.2, 0.3)), tmp_path), frame),
        (CachedVFM(FrozenVFM(TinyRandomViT(), levels=(2, 4), scale=2), tmp_path), frame),
        (CachedVFM(vfm, tmp_path), one_pixel),
        (CachedVFM(vfm, tmp_path), frame.transpose(2, 3).contiguous()),
        (CachedVFM(FrozenVFM(TinyRandomViT(), levels=(2, 4)).double(), tmp_path), frame.double()),
    ]
    for other, given in others:
        other(given)
        assert counts(other) == (0, 1)
    precise = CachedVFM(vfm, tmp_path)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        halves = precise(frame)
    assert counts(precise) == (0, 1)
    assert not equal(halves, precise(frame))
    assert counts(precise) == (1, 1)


def test_what_shapes_do_not_tell_is_in_the_key(tmp_path: Path) -> None:
    """The number of heads leaves no tensor behind; the features of the fixed frame show it."""
    two, four = (TinyRandomViT(dim=32) for _ in range(2))
    for block in two.blocks:
        block.self_attn.num_heads, block.self_attn.head_dim = 2, 16  # type: ignore[union-attr]
    assert all(torch.equal(a, b) for a, b in zip(two.parameters(), four.parameters(), strict=True))
    CachedVFM(FrozenVFM(two), tmp_path)(draw(1))
    other = CachedVFM(FrozenVFM(four), tmp_path)
    other(draw(1))
    assert counts(other) == (0, 1)


@pytest.mark.parametrize("damage", ["cut", "empty", "bit", "foreign"])
def test_a_damaged_file_is_computed_anew_and_told(vfm: FrozenVFM, tmp_path: Path, damage: str) -> None:
    frames = draw(2)
    want = CachedVFM(vfm, tmp_path)(frames)
    path, other = files(tmp_path)
    content = bytearray(path.read_bytes())
    if damage == "bit":
        content[-5] ^= 1
    changed = {"cut": content[:-9], "empty": b"", "bit": content, "foreign": b"\x02" + b"\0" * 7 + b"{}"}
    path.write_bytes(changed[damage])
    cached = CachedVFM(vfm, tmp_path)
    with pytest.warns(UserWarning, match=rf"{path.name} is damaged; its features are computed anew"):
        assert equal(cached(frames), want)
    assert counts(cached) == (1, 1)
    assert other.is_file()
    again = CachedVFM(vfm, tmp_path)
    assert equal(again(frames), want)
    assert counts(again) == (2, 0), "it was written again, whole"


def test_it_stays_below_its_size(vfm: FrozenVFM, tmp_path: Path) -> None:
    CachedVFM(vfm, tmp_path)(draw(1))
    size = files(tmp_path)[0].stat().st_size
    cached = CachedVFM(vfm, tmp_path, limit_gib=2.5 * size / GIB)
    cached(draw(1, seed=1))
    with pytest.raises(
        CacheFull, match=r"holds .* GiB and may hold .*: allow more, empty it, or train without"
    ):
        cached(draw(1, seed=2))
    assert len(files(tmp_path)) == 2
    assert equal(cached(draw(1)), CachedVFM(vfm, tmp_path)(draw(1))), "what is there can still be read"
    files(tmp_path)[0].unlink()
    cached(draw(1, seed=2))
    assert len(files(tmp_path)) == 2, "a folder that was cleared has room again"
    with pytest.raises(ValueError, match="above 0 GiB, got 0"):
        CachedVFM(vfm, tmp_path, limit_gib=0)


def test_a_failed_write_leaves_no_half_file(
    vfm: FrozenVFM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            CachedVFM(vfm, tmp_path)(draw(1))
    assert files(tmp_path) == []
    cached = CachedVFM(vfm, tmp_path)
    cached(draw(1))
    assert counts(cached) == (0, 1)


def test_it_is_frozen_like_any_other_and_takes_the_same_frames(vfm: FrozenVFM, tmp_path: Path) -> None:
    cached = CachedVFM(vfm, tmp_path).train()
    assert list(cached.parameters()) == []
    assert cached.state_dict() == {}
    assert not cached.backbone.training
    assert not any(level.requires_grad for level in cached(draw(1).requires_grad_()))
    with pytest.raises(ValueError, match=r"standardised frames \[B, 1, H, W\]"):
        cached(torch.zeros(1, 3, 32, 32))
