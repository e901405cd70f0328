# SPDX-License-Identifier: Apache-2.0
"""The adapter freezes whatever stands behind it, and gives maps that lie over the frame to a fraction of a pixel."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pitviper.core.modules.samf import SAMFChain
from pitviper.core.vfm import Backbone, FrozenVFM, TinyRandomViT, default_levels, to_unit_range


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Recorder(Backbone):
    """Keeps the images that it is given; its features are their means over each patch."""

    def __init__(self, patch_size: int = 16) -> None:
        super().__init__()
        self.patch_size, self.dim, self.depth = patch_size, 3, 12
        self.unused = nn.Parameter(torch.zeros(1))
        self.seen = torch.empty(0)

    def intermediate(self, images: Tensor, levels: Sequence[int]) -> list[Tensor]:
        self.seen = images
        return [F.avg_pool2d(images, self.patch_size) for _ in levels]


@pytest.mark.parametrize("patch", [14, 16])
@pytest.mark.parametrize("registers", [0, 4])
@pytest.mark.parametrize("size", [(64, 48), (65, 50), (7, 31)])
def test_shapes(patch: int, registers: int, size: tuple[int, int]) -> None:
    vfm = FrozenVFM(TinyRandomViT(patch_size=patch, registers=registers))
    maps = vfm(draw(2, 1, *size))
    assert (vfm.patch_size, vfm.D, vfm.L, vfm.levels) == (patch, 32, 4, (1, 2, 3, 4))
    cells = tuple(-(-n // patch) for n in size)
    assert [tuple(m.shape) for m in maps] == [(2, 32, *cells)] * 4
    assert all(m.dtype == torch.float32 and m.isfinite().all() for m in maps)
    assert not torch.allclose(maps[0], maps[3], atol=0.1)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_an_enlarged_frame_has_smaller_patches_in_the_same_places(scale: int) -> None:
    """A bright square of one patch lights its own cell, and beside it what bilinear enlarging brings there."""
    recorder = Recorder()
    vfm = FrozenVFM(recorder, levels=(1,), mean=(0.0,) * 3, std=(1.0,) * 3, scale=scale)
    side = 16 // scale
    assert (vfm.scale, vfm.patch_size) == (scale, side)
    frames = torch.zeros(1, 1, 64, 96)
    frames[..., 3 * side : 4 * side, 5 * side : 6 * side] = 1.0
    (found,) = vfm(frames)
    assert recorder.seen.shape == (1, 3, 64 * scale, 96 * scale)
    assert found.shape == (1, 3, 64 // side, 96 // side)
    light = (found[0, 0] - found[0, 0].min()) / (found[0, 0].max() - found[0, 0].min())
    assert float(light[3, 5]) == 1.0
    around = light[2:5, 4:7].clone()
    assert torch.allclose(around, around.flip(0)), "as much above as below"
    assert torch.allclose(around, around.flip(1))
    light[2:5, 4:7] = 0.0
    assert float(light.max()) == 0.0


@pytest.mark.parametrize("scale", [0, -2, 3, 32])
def test_a_scale_divides_the_patch(scale: int) -> None:
    with pytest.raises(
        ValueError, match=f"scale must be a whole number that divides the patch of 16 pixels, got {scale}"
    ):
        FrozenVFM(TinyRandomViT(), scale=scale)


def test_levels() -> None:
    assert default_levels(12) == (3, 6, 9, 12)
    assert default_levels(24) == (6, 12, 18, 24)
    assert default_levels(3) == (1, 2, 3)
    frames = draw(1, 1, 32, 32)
    every = FrozenVFM(TinyRandomViT())(frames)
    some = FrozenVFM(TinyRandomViT(), levels=(2, 4))
    assert some.L == 2
    assert all(torch.equal(a, b) for a, b in zip(some(frames), every[1::2], strict=True))
    for levels in ((), (0, 1), (4, 5), (2, 1), (1, 1)):
        with pytest.raises(
            ValueError, match=r"levels must rise and lie within 1 and 4, the blocks of this backbone"
        ):
            FrozenVFM(TinyRandomViT(), levels=levels)


class Recipe(nn.Module):
    """What a training holds: something to train beside something frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.chain = SAMFChain(8, 32)
        self.vfm = FrozenVFM(TinyRandomViT())


def test_frozen_in_every_sense() -> None:
    recipe = Recipe().train().requires_grad_(True)
    backbone = recipe.vfm.backbone
    assert not backbone.training
    assert not any(m.training for m in backbone.modules())
    assert not any(p.requires_grad for p in backbone.parameters())
    assert list(recipe.vfm.parameters()) == []
    assert recipe.vfm.state_dict() == {}
    assert not any(k.startswith("vfm") for k in recipe.state_dict())
    assert {id(p) for p in recipe.parameters()} == {id(p) for p in recipe.chain.parameters()}
    frames = draw(2, 1, 32, 32).requires_grad_()
    assert not any(m.requires_grad for m in recipe.vfm(frames))


def test_training_beside_it_changes_nothing_in_it() -> None:
    torch.manual_seed(0)
    recipe = Recipe().train()
    before = {k: v.clone() for k, v in recipe.vfm.backbone.state_dict().items()}
    optimizer = torch.optim.AdamW(recipe.parameters(), lr=0.1, weight_decay=0.5)
    start = [p.detach().clone() for p in recipe.chain.parameters()]
    for _ in range(2):
        optimizer.zero_grad()
        fused = recipe.chain(F.relu(draw(2, 8, 4, 4)), recipe.vfm(draw(2, 1, 32, 32)))
        (fused - 1).square().mean().backward()
        optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in recipe.vfm.backbone.state_dict().items())
    assert any(not torch.equal(a, b) for a, b in zip(start, recipe.chain.parameters(), strict=True))


def test_moves_with_its_holder() -> None:
    recipe = Recipe().to(torch.float64)
    assert {p.dtype for p in recipe.vfm.backbone.parameters()} == {torch.float64}
    frames = draw(1, 1, 32, 32)
    single = Recipe().vfm(frames)
    assert all(m.dtype == torch.float32 for m in recipe.vfm(frames.double()))
    for a, b in zip(recipe.vfm(frames), single, strict=True):
        assert float((a - b).abs().max()) < 1e-4
    recipe.to("meta")
    assert {p.device.type for p in recipe.vfm.backbone.parameters()} == {"meta"}
    assert recipe.vfm.mean.device.type == "meta"


def test_copies_hold_their_own_backbone() -> None:
    vfm = FrozenVFM(TinyRandomViT())
    other = copy.deepcopy(vfm)
    assert other.backbone is not vfm.backbone
    assert torch.equal(other(draw(1, 1, 32, 32))[0], vfm(draw(1, 1, 32, 32))[0])


@pytest.mark.parametrize("form", ["autocast", "weights"])
def test_mixed_precision(form: str) -> None:
    frames = draw(1, 1, 32, 32) * 30
    vfm = FrozenVFM(TinyRandomViT())
    want = vfm(frames)
    if form == "weights":
        found = FrozenVFM(TinyRandomViT()).to(torch.bfloat16)(frames.bfloat16())
    else:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = vfm(frames)
    for a, b in zip(found, want, strict=True):
        assert a.dtype == torch.float32
        # Four blocks in bfloat16, whose steps are 0.8 % each.
        assert float((a - b).abs().max()) < 0.1 * float(b.abs().max())


def test_input_is_normalised_gray_in_three_channels() -> None:
    recorder = Recorder()
    mean, std = (0.5, 0.25, 0.0), (0.5, 0.25, 2.0)
    frames = draw(2, 1, 32, 48) * 7 + 3
    FrozenVFM(recorder, levels=(1,), mean=mean, std=std)(frames)
    unit = to_unit_range(frames)
    assert recorder.seen.shape == (2, 3, 32, 48)
    for channel in range(3):
        want = (unit[:, 0] - mean[channel]) / std[channel]
        assert float((recorder.seen[:, channel] - want).abs().max()) < 1e-6


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (250.0, 9000.0), (1e-3, -4.0)])
def test_unit_range_ignores_gain_and_offset(gain: float, offset: float) -> None:
    frames = draw(2, 1, 40, 50)
    want, found = to_unit_range(frames), to_unit_range(frames.double() * gain + offset)
    assert float(want.min()) >= 0
    assert float(want.max()) <= 1
    # float32 keeps 1e-7 of 9,000, which is 1e-3 in a frame whose own range is about 1,000.
    assert float((found - want).abs().max()) < 1e-3
    inside = ((want >= 0.1) & (want <= 0.9)).double().mean()
    assert float(inside) == pytest.approx(0.98, abs=0.002)


@pytest.mark.parametrize("pixels", [1, 2, 9, 80])
def test_a_target_stands_out_and_does_not_squeeze_the_rest(pixels: int) -> None:
    frame = draw(1, 1, 128, 128)
    with_target = frame.clone()
    with_target.view(-1)[5000 : 5000 + pixels] = 1000.0
    before, after = to_unit_range(frame), to_unit_range(with_target)
    assert float(after.view(-1)[5000 : 5000 + pixels].min()) == 1.0
    # 80 of 16,384 pixels move the 99th percentile by half a percentile.
    assert float((after - before).view(-1)[:4999].abs().max()) < 0.05


def test_frames_without_spread() -> None:
    assert torch.equal(to_unit_range(torch.full((2, 1, 9, 9), 7.0)), torch.full((2, 1, 9, 9), 0.5))
    frame = torch.zeros(1, 1, 64, 64)
    frame[0, 0, 30, 30] = 5.0
    found = to_unit_range(frame)
    assert float(found[0, 0, 30, 30]) == pytest.approx(0.9)
    assert float(found[0, 0, 0, 0]) == pytest.approx(0.1)


@pytest.mark.parametrize("patch", [14, 16])
@pytest.mark.parametrize("size", [(64, 64), (70, 100), (200, 129)])
def test_maps_lie_over_the_frame_whatever_the_padding(patch: int, size: tuple[int, int]) -> None:
    """A slope along the frame comes out as the same slope along the cells, up to its last cells."""
    height, width = size
    recorder = Recorder(patch)
    ramp = torch.arange(width).float().expand(1, 1, height, width)
    (found,) = FrozenVFM(recorder, levels=(1,), mean=(0, 0, 0), std=(1, 1, 1))(ramp)
    unit = to_unit_range(ramp)[0, 0, 0]
    inner = slice(4, width - 4)
    slope = float((unit[inner][-1] - unit[inner][0]) / (unit[inner].numel() - 1))
    cells = found.shape[3]
    centres = (torch.arange(cells) + 0.5) * width / cells - 0.5
    want = unit[width // 2] + slope * (centres - width // 2)
    error = (found[0, 0, 0] - want)[1:-2]  # the first and last cells see the clipped ends and the padding
    assert error.numel() >= 1
    assert float(error.abs().max()) < 1e-4
    if height % patch == 0 and width % patch == 0:
        assert torch.equal(found, F.avg_pool2d(recorder.seen, patch)), "nothing is resampled without need"


def test_other_shapes() -> None:
    vfm = FrozenVFM(TinyRandomViT())
    for shape in ((1, 3, 32, 32), (32, 32), (1, 32, 32)):
        with pytest.raises(ValueError, match=r"standardised frames \[B, 1, H, W\], got"):
            vfm(draw(*shape))


def test_tiny_is_seeded_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    first = TinyRandomViT(seed=1)
    assert torch.equal(torch.rand(3), want)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), TinyRandomViT(seed=1).parameters(), strict=True)
    )
    assert not torch.equal(first.embed.weight, TinyRandomViT(seed=2).embed.weight)
    with pytest.raises(ValueError, match="multiple of 8, got 30"):
        TinyRandomViT(dim=30)


def test_tiny_knows_where_a_patch_is() -> None:
    """Features depend on place, or fusion by position could not be tested with it."""
    (first, *_) = FrozenVFM(TinyRandomViT())(torch.zeros(1, 1, 64, 64))
    flat = first[0].flatten(1).t()
    distance = torch.cdist(flat, flat) + torch.eye(len(flat)) * 1e3
    assert float(distance.min()) > 1e-3
