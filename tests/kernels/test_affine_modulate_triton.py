# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels of `affine_modulate` against the definition: every element, forward and backward.

They run on the GPU where there is one, otherwise in Triton's interpreter.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from pitviper.kernels import affine_modulate
from pitviper.kernels.affine_modulate.reference import affine_modulate_reference

from .conftest import LAYOUTS, ROUNDING, Draw, Within

SIZES = [(1, 1), (7, 13), (33, 65)]
STRENGTH = 0.55
# An element of a sum is added to at most 64 others in turn, a few more times while tiles are joined.
SUM_STEPS = 96


def run(
    features: Tensor, gamma: Tensor, beta: Tensor, residual: Tensor | None = None, *, relu: bool = False
) -> Tensor:
    return affine_modulate(
        features, gamma, beta, strength=STRENGTH, relu=relu, residual=residual, backend="triton"
    )


def spread(parameter: Tensor) -> Tensor:
    return parameter[:, :, None, None] if parameter.ndim == 2 else parameter


def check(
    within: Within, given: list[Tensor], slope: Tensor, *, relu: bool = False
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Compare result and gradients with those of the definition in float64. ``given`` may end with a residual."""
    given = [one.detach().requires_grad_() for one in given]
    wide = [one.detach().double().requires_grad_() for one in given]
    f, gamma, beta, *rest = (one.detach() for one in wide)
    exact = affine_modulate_reference(
        *wide[:3], strength=STRENGTH, relu=relu, residual=wide[3] if rest else None
    )
    gain = 1 + STRENGTH * (1 + spread(gamma).abs())
    terms = gain * f.abs() + STRENGTH * spread(beta).abs() + (rest[0].abs() if rest else 0)
    found = run(*given, relu=relu)
    within(found.detach(), exact.detach(), terms)
    if relu:
        # So close to the kink, either side is right.
        slope = torch.where(exact.detach().abs() < 1e-2 * terms, torch.zeros_like(slope), slope)
    grads = torch.autograd.grad(found, given, slope)
    wanted = torch.autograd.grad(exact, wide, slope.double())
    steep = slope.double().abs()
    within(grads[0], wanted[0], steep * gain)
    for grad, want, share in zip(grads[1:3], wanted[1:3], (f.abs(), torch.ones_like(f)), strict=True):
        share = STRENGTH * steep * share
        within(grad, want, share if gamma.ndim == 4 else share.sum((2, 3)), steps=SUM_STEPS)
    if rest:
        assert torch.equal(grads[3].double(), wanted[3])
    return found.detach(), grads


@pytest.mark.parametrize(("per_pixel", "extras"), [(False, False), (False, True), (True, True)])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", list(ROUNDING))
def test_result_and_gradients(
    draw: Draw, within: Within, dtype: torch.dtype, size: tuple[int, int], per_pixel: bool, extras: bool
) -> None:
    shape = (1, 2, *size)
    parameters = [draw(*(shape if per_pixel else shape[:2]), seed=seed, dtype=dtype) for seed in (1, 2)]
    rest = [draw(*shape, seed=3, dtype=dtype)] if extras else []
    check(
        within,
        [draw(*shape, dtype=dtype), *parameters, *rest],
        draw(*shape, seed=4, dtype=dtype),
        relu=extras,
    )


@pytest.mark.parametrize("per_pixel", [False, True], ids=["per channel", "per pixel"])
@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_any_layout(draw: Draw, within: Within, layout: str, per_pixel: bool) -> None:
    """Features, parameters, residual and the incoming gradient, each in its own memory layout."""
    shape = (2, 5, 3, 7)
    others = [LAYOUTS[(LAYOUTS.index(layout) + step) % len(LAYOUTS)] for step in range(4)]
    parameters = (
        [draw(*shape, seed=1 + k, layout=others[k]) for k in range(2)]
        if per_pixel
        else [draw(5, 2, seed=1).t(), draw(2, 1, seed=2).expand(2, 5)]
    )
    features = draw(*shape, layout=layout)
    before = features.clone()
    residual = draw(*shape, seed=3, layout=others[2])
    found, _ = check(
        within, [features, *parameters, residual], draw(*shape, seed=4, layout=others[3]), relu=True
    )
    last = features.is_contiguous(memory_format=torch.channels_last)
    assert found.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    assert torch.equal(features, before), "the input is never written to"


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 0, 4, 5), (2, 3, 0, 5), (1, 70, 3, 3), (5, 2, 3, 3)])
@pytest.mark.parametrize("per_pixel", [False, True], ids=["per channel", "per pixel"])
def test_batches_and_empty_maps(
    draw: Draw, within: Within, shape: tuple[int, int, int, int], per_pixel: bool
) -> None:
    parameters = [draw(*(shape if per_pixel else shape[:2]), seed=seed) for seed in (1, 2)]
    _, grads = check(within, [draw(*shape), *parameters], draw(*shape, seed=4))
    assert [grad.shape for grad in grads[1:]] == [parameter.shape for parameter in parameters]


def test_mixed_dtypes(draw: Draw, within: Within) -> None:
    """SCAM's parameters stay float32 while its features are half: each gets a gradient of its own dtype."""
    given = [
        draw(2, 3, 7, 13, dtype=torch.float16),
        draw(2, 3, seed=1),
        draw(2, 3, seed=2, dtype=torch.bfloat16),
    ]
    found, grads = check(within, given, draw(2, 3, 7, 13, seed=3, dtype=torch.float16))
    assert found.dtype == torch.float16
    assert [grad.dtype for grad in grads] == [torch.float16, torch.float32, torch.bfloat16]


@pytest.mark.parametrize("needed", [(0,), (1,), (2,), (3,), (0, 3)])
@pytest.mark.parametrize("relu", [False, True])
def test_only_the_gradients_that_are_needed(draw: Draw, needed: tuple[int, ...], relu: bool) -> None:
    given = [draw(1, 2, 3, 5), draw(1, 2, seed=1), draw(1, 2, seed=2), draw(1, 2, 3, 5, seed=3)]
    every = [one.clone().requires_grad_() for one in given]
    run(*every, relu=relu).sum().backward()
    some = [one.clone().requires_grad_(k in needed) for k, one in enumerate(given)]
    run(*some, relu=relu).sum().backward()
    for k, (one, all_of_them) in enumerate(zip(some, every, strict=True)):
        assert (one.grad is not None) == (k in needed)
        if one.grad is not None and all_of_them.grad is not None:
            assert torch.equal(one.grad, all_of_them.grad)


@pytest.mark.parametrize("layout", ["rows", "channels last"])
@pytest.mark.parametrize("per_pixel", [False, True], ids=["per channel", "per pixel"])
def test_every_element_is_written(
    draw: Draw, within: Within, poisoned: None, layout: str, per_pixel: bool
) -> None:
    """``within`` refuses NaN, which is what the memory of every result held."""
    shape = (2, 2, 33, 65)
    parameters = [draw(*(shape if per_pixel else shape[:2]), seed=seed) for seed in (1, 2)]
    check(within, [draw(*shape, layout=layout), *parameters], draw(*shape, seed=4))


@pytest.mark.parametrize("place", [(0, 0, 0), (1, 6, 12), (2, 3, 12), (0, 6, 0)])
def test_one_pixel_stays_where_it_is(draw: Draw, place: tuple[int, int, int]) -> None:
    """A target of one pixel, forward and backward: nothing else changes."""
    channel, y, x = place
    gamma, beta = draw(1, 3, seed=1).requires_grad_(), torch.zeros_like(draw(1, 3)).requires_grad_()
    features = torch.zeros_like(draw(1, 3, 7, 13))
    features[0, channel, y, x] = 100.0
    features.requires_grad_()
    found = run(features, gamma, beta)
    gain = 1 + STRENGTH * (gamma.detach()[0, channel] - 1)
    assert found.detach().nonzero().tolist() == [[0, *place]]
    assert torch.allclose(found[0, channel, y, x], 100.0 * gain, rtol=1e-6)
    slope = torch.zeros_like(found)
    slope[0, channel, y, x] = 1.0
    grads = torch.autograd.grad(found, (features, gamma, beta), slope)
    assert grads[0].nonzero().tolist() == [[0, *place]]
    want = torch.zeros_like(gamma)
    want[0, channel] = STRENGTH
    assert torch.allclose(grads[1], 100.0 * want)
    assert torch.allclose(grads[2], want)


def test_flips_translations_and_channels(draw: Draw) -> None:
    """Bit for bit: each pixel is computed alone."""
    features, gamma, beta = (draw(1, 2, 7, 13, seed=seed) for seed in range(3))
    found = run(features, gamma, beta)
    for moved in (
        lambda one: one.flip(-1),
        lambda one: one.flip(-2),
        lambda one: one.roll((2, -5), (-2, -1)),
        lambda one: one.transpose(-1, -2),
        lambda one: one.flip(1),
    ):
        assert torch.equal(run(moved(features), moved(gamma), moved(beta)), moved(found))


def test_neutral_parameters_change_nothing(draw: Draw) -> None:
    features = draw(2, 3, 7, 13, dtype=torch.float16)
    one = torch.ones_like(features[:, :, 0, 0])
    assert torch.equal(run(features, one, 0 * one), features)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_no_number_stays_in_its_pixel(draw: Draw, value: float) -> None:
    features, gamma, beta = draw(1, 2, 5, 5), draw(1, 2, seed=1), draw(1, 2, seed=2)
    features[0, 1, 2, 3] = value
    want = affine_modulate_reference(features, gamma, beta, strength=STRENGTH, relu=True)
    found = run(features, gamma, beta, relu=True)
    assert torch.equal(found.isnan(), want.isnan())
    assert torch.allclose(found, want, rtol=1e-6, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize(
    ("shape", "stride"), [((3, 1, 2, 3), (2**30, 5, 3, 1)), ((1, 3, 2, 3), (7, 2**30, 3, 1))]
)
def test_offsets_beyond_32_bits(
    far_apart: Callable[..., Tensor], draw: Draw, shape: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    features = far_apart(shape, stride)
    features.copy_(draw(*shape, dtype=torch.float16))
    parameters = draw(*shape[:2], seed=1), draw(*shape[:2], seed=2)
    near = features.contiguous()
    assert torch.equal(run(features, *parameters), run(near, *parameters))
    grads = []
    for one in (features, near):
        one = one.detach().requires_grad_()
        grads.append(torch.autograd.grad(run(one, *parameters, relu=True).sum(), one)[0])
    assert torch.equal(*grads)
