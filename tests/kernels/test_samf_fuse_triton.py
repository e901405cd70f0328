# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels of `samf_split` and `samf_join` against the definition: every element, forward and backward.

They run on the GPU where there is one, otherwise in Triton's interpreter.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pitviper.kernels import samf_join, samf_split
from pitviper.kernels.samf_fuse.reference import samf_join_reference, samf_split_reference

from .conftest import LAYOUTS, ROUNDING, Draw, Within

SIZES = [((1, 1), (3, 2)), ((7, 13), (3, 5)), ((7, 13), (7, 13)), ((33, 65), (4, 9)), ((12, 4), (3, 9))]
# The place in the prior is computed in float32, like a weight of it; a sum of a few rows and columns follows.
STEPS = 32
SUM_STEPS = 64


def check(within: Within, given: list[Tensor], slopes: list[Tensor]) -> tuple[Tensor, ...]:
    """Compare results and gradients of the split with those of the definition in float64."""
    given = [one.detach().requires_grad_() for one in given]
    wide = [one.detach().double().requires_grad_() for one in given]
    sizes = [one.detach().abs().requires_grad_() for one in wide]
    exact, found = samf_split_reference(*wide), samf_split(*given, backend="triton")
    terms = samf_split_reference(*sizes)
    # Where a place is off by a rounding of its number, a value is off by the difference of the neighbours.
    reach = max(given[1].shape[2:])
    for one, want, share in zip(found, exact, terms, strict=True):
        spread = share.detach().amax(dim=(2, 3), keepdim=True).expand_as(want)
        within(one.detach(), want.detach(), spread, steps=STEPS + 2 * reach)
    grads = torch.autograd.grad(found, given, slopes)
    wanted = torch.autograd.grad(exact, wide, [slope.double() for slope in slopes])
    shares = torch.autograd.grad(terms, sizes, [slope.double().abs() for slope in slopes])
    for grad, want, share in zip(grads, wanted, shares, strict=True):
        spread = share.amax(dim=(2, 3), keepdim=True).expand_as(want) if want.numel() else want
        within(grad, want, spread, steps=SUM_STEPS + 2 * reach)
    return tuple(one.detach() for one in found)


@pytest.mark.parametrize(("size", "prior"), SIZES)
@pytest.mark.parametrize("dtype", list(ROUNDING))
def test_result_and_gradients(
    draw: Draw, within: Within, dtype: torch.dtype, size: tuple[int, int], prior: tuple[int, int]
) -> None:
    given = [draw(1, 4, *size, dtype=dtype), *(draw(1, 2, *prior, seed=seed, dtype=dtype) for seed in (1, 2))]
    found = check(within, given, [draw(1, 2, *size, seed=seed, dtype=dtype) for seed in (3, 4)])
    joined = samf_join(*found, given[0], backend="triton")
    exact = samf_join_reference(*(one.double() for one in found), given[0].double())
    within(joined, exact, exact.abs(), steps=2)


@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_any_layout(draw: Draw, within: Within, poisoned: None, layout: str) -> None:
    """Every operand in its own memory layout, and memory that shows what was not written."""
    others = [LAYOUTS[(LAYOUTS.index(layout) + step) % len(LAYOUTS)] for step in range(5)]
    given = [draw(2, 6, 5, 7, layout=layout), draw(2, 3, 3, 4, seed=1, layout=others[1])]
    given.append(draw(2, 3, 3, 4, seed=2, layout=others[2]))
    slopes = [draw(2, 3, 5, 7, seed=3 + k, layout=others[3 + k]) for k in range(2)]
    before = [one.clone() for one in given]
    found = check(within, given, slopes)
    joined = samf_join(slopes[0], found[1], given[0], backend="triton")
    assert torch.equal(joined, samf_join_reference(slopes[0], found[1], given[0]))
    last = given[0].is_contiguous(memory_format=torch.channels_last)
    for one in (*found, joined):
        assert one.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    for one, kept in zip(given, before, strict=True):
        assert torch.equal(one, kept), "the input is never written to"


@pytest.mark.parametrize(("batch", "channels"), [(0, 4), (3, 2), (1, 70)])
def test_batches_and_channels(draw: Draw, within: Within, batch: int, channels: int) -> None:
    half = channels // 2
    given = [draw(batch, channels, 3, 4), *(draw(batch, half, 2, 2, seed=seed) for seed in (1, 2))]
    first, second = check(within, given, [draw(batch, half, 3, 4, seed=seed) for seed in (3, 4)])
    joined = samf_join(first, second, given[0], backend="triton")
    assert torch.equal(joined, samf_join_reference(first, second, given[0]))


def test_dtypes_are_promoted_as_by_torch(draw: Draw, within: Within) -> None:
    given = [
        draw(1, 4, 3, 4, dtype=torch.bfloat16),
        draw(1, 2, 2, 2, seed=1),
        draw(1, 2, 2, 2, seed=2, dtype=torch.bfloat16),
    ]
    found = samf_split(*given, backend="triton")
    assert [one.dtype for one in found] == [torch.float32, torch.bfloat16]
    assert samf_join(*found, given[0], backend="triton").dtype == torch.float32


def test_gradients_of_the_join_are_views(draw: Draw) -> None:
    given = [draw(1, 2, 3, 4, seed=k).requires_grad_() for k in range(2)] + [
        draw(1, 4, 3, 4).requires_grad_()
    ]
    slope = draw(1, 4, 3, 4, seed=5)
    grads = torch.autograd.grad(samf_join(*given, backend="triton"), given, slope)
    assert all(torch.equal(*pair) for pair in zip(grads, (slope[:, :2], slope[:, 2:], slope), strict=True))


@pytest.mark.parametrize("place", [(0, 0, 0), (1, 6, 12), (0, 3, 12)])
def test_one_pixel_stays_where_it_is(draw: Draw, place: tuple[int, int, int]) -> None:
    """A target of one pixel in the half that is multiplied: it is scaled there and nothing else appears."""
    features = torch.zeros_like(draw(1, 4, 7, 13))
    features[(0, *place)] = 100.0
    scale = 1 + draw(1, 2, 3, 5).abs()
    first, second = samf_split(features, scale, 0 * scale, backend="triton")
    want, _ = samf_split_reference(features, scale, 0 * scale)
    assert first.nonzero().tolist() == [[0, *place]]
    assert torch.allclose(first, want, rtol=1e-6)
    assert not second.any()


def test_flips(draw: Draw) -> None:
    """The half-pixel convention has no direction. A place is rounded otherwise from the other side, hence no bits."""
    given = [draw(1, 4, 7, 13), draw(1, 2, 3, 5, seed=1), draw(1, 2, 3, 5, seed=2)]
    plain = samf_split(*given, backend="triton")
    for dim in (-1, -2):
        flipped = samf_split(*(one.flip(dim) for one in given), backend="triton")
        for one, other in zip(plain, flipped, strict=True):
            assert torch.allclose(one.flip(dim), other, rtol=1e-5, atol=1e-5)


def test_translation_by_a_whole_pixel_of_the_prior(draw: Draw) -> None:
    """Bit for bit where it is a power of two larger: rolled priors move the result, away from the borders."""
    features = draw(1, 4, 8, 16)
    scale, shift = draw(1, 2, 4, 8, seed=1), draw(1, 2, 4, 8, seed=2)
    plain = samf_split(features, scale, shift, backend="triton")
    moved = samf_split(features.roll(2, -1), scale.roll(1, -1), shift.roll(1, -1), backend="triton")
    for one, other in zip(plain, moved, strict=True):
        assert torch.equal(one[..., 2:12], other[..., 4:14])


def test_only_the_gradients_that_are_needed(draw: Draw) -> None:
    given = [draw(1, 4, 3, 4), draw(1, 2, 2, 2, seed=1), draw(1, 2, 2, 2, seed=2)]
    every = [one.clone().requires_grad_() for one in given]
    whole = torch.autograd.grad(samf_split(*every, backend="triton")[0].sum(), every)
    assert not whole[2].any(), "the shift is not in the first half"
    for k in range(3):
        some = [one.clone().requires_grad_(k == n) for n, one in enumerate(given)]
        sum(one.sum() for one in samf_split(*some, backend="triton")).backward()
        assert [one.grad is not None for one in some] == [k == n for n in range(3)]


@pytest.mark.parametrize(
    ("shape", "stride"), [((3, 2, 2, 3), (2**30, 9, 3, 1)), ((1, 6, 2, 3), (7, 2**29, 3, 1))]
)
def test_offsets_beyond_32_bits(
    far_apart: Callable[..., Tensor], draw: Draw, shape: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    features = far_apart(shape, stride)
    features.copy_(draw(*shape, dtype=torch.float16))
    half = (shape[0], shape[1] // 2, 2, 2)
    prior = draw(*half, seed=1), draw(*half, seed=2)
    far, near = (samf_split(one, *prior, backend="triton") for one in (features, features.contiguous()))
    assert all(torch.equal(*pair) for pair in zip(far, near, strict=True))
