# SPDX-License-Identifier: Apache-2.0
"""The kernel bodies of `affine_modulate` and `samf_fuse`, run on the host, against their definitions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pitviper.kernels import native
from pitviper.kernels.affine_modulate.reference import affine_modulate_reference
from pitviper.kernels.samf_fuse.reference import samf_join_reference, samf_split_reference

DTYPES = {torch.float32: 0, torch.float16: 1, torch.bfloat16: 2}
SHAPES = [(1, 1, 1, 16), (2, 7, 13, 48), (1, 33, 65, 32)]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def maps(*shape: int, dtype: torch.dtype, seed: int) -> Tensor:
    """Values of any size in a map [N, H, W, C], with one pixel far above the rest."""
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    made[0, ..., 0].view(-1)[0] = 1000.0
    return made.to(dtype)


def planes(rows: Tensor) -> Tensor:
    """[N, H, W, C] as the definitions see it: [N, C, H, W]."""
    return rows.movedim(-1, 1)


def poisoned(like: Tensor, channels: int) -> Tensor:
    return torch.full((*like.shape[:3], channels), torch.nan, dtype=like.dtype)


def assert_same(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)


def affine(features: Tensor, gamma: Tensor, beta: Tensor, **options: Any) -> tuple[dict[str, Any], Tensor]:
    residual = options.get("residual")
    out = poisoned(features, features.shape[3])
    given = {
        "dtype": DTYPES[features.dtype],
        "shape": tuple(features.shape),
        "features": features.data_ptr(),
        "gamma": gamma.data_ptr(),
        "beta": beta.data_ptr(),
        "per_pixel": gamma.ndim == 4,
        "strength": options.get("strength", 1.0),
        "relu": options.get("relu", False),
        "residual": 0 if residual is None else residual.data_ptr(),
        "output": out.data_ptr(),
    }
    return given, out


@every_dtype
@every_shape
@pytest.mark.parametrize("per_pixel", [False, True])
@pytest.mark.parametrize(("relu", "with_residual"), [(False, False), (True, True)])
def test_affine_equals_the_definition(
    dtype: torch.dtype, shape: tuple[int, ...], per_pixel: bool, relu: bool, with_residual: bool
) -> None:
    """The same operations in the same order in float32, rounded once: no element may differ."""
    features = maps(*shape, dtype=dtype, seed=0)
    sizes = shape if per_pixel else (shape[0], 1, 1, shape[3])
    gamma, beta = (maps(*sizes, dtype=dtype, seed=seed) for seed in (1, 2))
    residual = maps(*shape, dtype=dtype, seed=3) if with_residual else None
    parameters = [planes(value) if per_pixel else value[:, 0, 0] for value in (gamma, beta)]
    expected = affine_modulate_reference(
        planes(features),
        *parameters,
        strength=0.55,
        relu=relu,
        residual=None if residual is None else planes(residual),
    )
    if not per_pixel:
        gamma, beta = gamma[:, 0, 0].contiguous(), beta[:, 0, 0].contiguous()
    given, out = affine(features, gamma, beta, strength=0.55, relu=relu, residual=residual)
    native.load().affine_modulate_phases(given)
    assert_same(planes(out), expected)


@every_dtype
def test_affine_without_strength_is_the_features(dtype: torch.dtype) -> None:
    features = maps(2, 7, 13, 16, dtype=dtype, seed=0)
    gamma, beta = (torch.randn(2, 16).to(dtype) for _ in range(2))
    given, out = affine(features, gamma, beta, strength=0.0)
    native.load().affine_modulate_phases(given)
    assert_same(out, features)


def test_affine_keeps_nan_behind_relu_and_works_in_place() -> None:
    features = torch.tensor([[[[torch.nan, -1.0, 2.0, -torch.inf, torch.inf, 0.0, -0.0, 1e-40]]]])
    gamma, beta = torch.ones(1, 8), torch.zeros(1, 8)
    given, _ = affine(features, gamma, beta, relu=True)
    expected = features.relu()
    native.load().affine_modulate_phases(given | {"output": features.data_ptr()})
    assert_same(features, expected)


def split(features: Tensor, scale: Tensor, shift: Tensor) -> tuple[dict[str, Any], Tensor, Tensor]:
    first, second = (poisoned(features, features.shape[3] // 2) for _ in range(2))
    given = {
        "dtype": DTYPES[features.dtype],
        "shape": tuple(features.shape),
        "prior_size": tuple(scale.shape[1:3]),
        "features": features.data_ptr(),
        "scale": scale.data_ptr(),
        "shift": shift.data_ptr(),
        "first": first.data_ptr(),
        "second": second.data_ptr(),
    }
    return given, first, second


@every_dtype
@every_shape
@pytest.mark.parametrize("prior", [(1, 1), (7, 13), (5, 9), (16, 16), (40, 90)], ids=str)
def test_split_is_near_the_definition(
    dtype: torch.dtype, shape: tuple[int, ...], prior: tuple[int, int]
) -> None:
    """Against float64. Where a pixel lies in the prior is known to 2^-24 of the prior's side, the four weights and
    sums are rounded in float32, and the result once to its dtype."""
    features = maps(*shape, dtype=dtype, seed=0)
    scale, shift = (maps(shape[0], *prior, shape[3] // 2, dtype=dtype, seed=seed) for seed in (1, 2))
    given, *found = split(features, scale, shift)
    native.load().samf_split_phases(given)
    wide = [planes(value).double() for value in (features, scale, shift)]
    halves = wide[0].chunk(2, dim=1)
    last_place = torch.finfo(dtype).eps / 2
    for got, want, extent in zip(found, samf_split_reference(*wide), (halves[0].abs(), 1.0), strict=True):
        position = 2.0**-24 * (4 * max(prior) + 8) * max(float(scale.abs().max()), float(shift.abs().max()))
        bound = last_place * want.abs() + position * extent + torch.finfo(dtype).smallest_normal
        if dtype == torch.float16:
            want = want.clamp(-65504.0, 65504.0)
            got = got.clamp(-65504.0, 65504.0)
        assert bool(((planes(got).double() - want).abs() <= bound).all())


@every_dtype
def test_split_with_a_prior_of_the_right_size_is_exact(dtype: torch.dtype) -> None:
    features = maps(2, 7, 13, 48, dtype=dtype, seed=0)
    scale, shift = (maps(2, 7, 13, 24, dtype=dtype, seed=seed) for seed in (1, 2))
    given, *found = split(features, scale, shift)
    native.load().samf_split_phases(given)
    expected = samf_split_reference(*(planes(value) for value in (features, scale, shift)))
    for got, want in zip(found, expected, strict=True):
        assert_same(planes(got), want)


def test_an_infinite_prior_stays_where_it_is() -> None:
    """With equal sizes the neighbours have no weight, and 0 times infinity must not become NaN."""
    features = torch.ones(1, 3, 3, 16)
    scale, shift = torch.ones(1, 3, 3, 8), torch.zeros(1, 3, 3, 8)
    scale[0, 1, 1], shift[0, 2, 2] = torch.inf, torch.inf
    given, first, second = split(features, scale, shift)
    native.load().samf_split_phases(given)
    assert (int(first.isinf().sum()), int(second.isinf().sum())) == (8, 8)
    assert not bool(first.isnan().any() | second.isnan().any())


@every_dtype
@every_shape
def test_join_equals_the_definition(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    features = maps(*shape, dtype=dtype, seed=0)
    first, second = (maps(*shape[:3], shape[3] // 2, dtype=dtype, seed=seed) for seed in (1, 2))
    out = poisoned(features, shape[3])
    native.load().samf_join_phases(
        {
            "dtype": DTYPES[dtype],
            "shape": shape,
            "features": features.data_ptr(),
            "first": first.data_ptr(),
            "second": second.data_ptr(),
            "output": out.data_ptr(),
        }
    )
    assert_same(planes(out), samf_join_reference(planes(first), planes(second), planes(features)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dtype": 3}, "no such dtype"),
        ({"shape": (-1, 4, 4, 16)}, "batch"),
        ({"shape": (1, 0, 4, 16)}, "height and width"),
        ({"shape": (1, 4, 4, 12)}, "multiple of 8"),
        ({"strength": float("nan")}, "finite"),
        ({"gamma": 0}, "aligned"),
        ({"residual": 4}, "aligned"),
    ],
)
def test_arguments_that_do_not_fit_are_named(change: dict[str, Any], words: str) -> None:
    given, _ = affine(torch.zeros(1, 4, 4, 16), torch.zeros(1, 16), torch.zeros(1, 16))
    native.load().affine_modulate_phases(given)
    with pytest.raises(ValueError, match=words):
        native.load().affine_modulate_phases(given | change)
    prior = torch.zeros(1, 2, 2, 8)
    given, *_ = split(torch.zeros(1, 4, 4, 16), prior, prior)
    with pytest.raises(ValueError, match="multiple of 16"):
        native.load().samf_split_phases(given | {"shape": (1, 4, 4, 24)})
    with pytest.raises(ValueError, match="prior"):
        native.load().samf_split_phases(given | {"prior_size": (0, 2)})
