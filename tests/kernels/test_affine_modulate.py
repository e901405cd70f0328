# SPDX-License-Identifier: Apache-2.0
"""What `affine_modulate` promises on every machine: the definition, its arguments, and how it meets torch."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from pitviper.kernels import BackendUnavailable, affine_modulate


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_worked_example() -> None:
    """SCAM with s = 0.12 on one pixel of two channels."""
    gamma = 1 + torch.tanh(torch.tensor([[0.3, -1.0]]) * torch.tensor([[1.0, 0.5]]))
    beta, features = torch.tensor([[0.2, -0.4]]), torch.tensor([2.0, 3.0]).reshape(1, 2, 1, 1)
    found = affine_modulate(features, gamma, beta, strength=0.12).flatten().tolist()
    assert found == pytest.approx([2.0939, 2.7856], abs=5e-5)


def test_residual_is_added_before_the_relu() -> None:
    features, gamma, beta, residual = (
        draw(1, 2, 3, 4),
        draw(1, 2, seed=1),
        draw(1, 2, seed=2),
        draw(1, 2, 3, 4, seed=3),
    )
    plain = affine_modulate(features, gamma, beta, strength=0.5)
    found = affine_modulate(features, gamma, beta, strength=0.5, residual=residual, relu=True)
    assert torch.equal(found, (plain + residual).relu())
    assert (found == 0).any()


def test_strength_zero_and_neutral_parameters_change_nothing() -> None:
    features, one = draw(2, 3, 5, 4).half(), torch.ones(2, 3)
    assert torch.equal(affine_modulate(features, draw(2, 3), draw(2, 3), strength=0.0), features)
    assert torch.equal(affine_modulate(features, one, 0 * one), features)


def test_one_value_for_each_pixel() -> None:
    features, gamma, beta = draw(2, 3, 5, 4), draw(2, 3, seed=1), draw(2, 3, seed=2)
    maps = [one[:, :, None, None].expand(2, 3, 5, 4) for one in (gamma, beta)]
    assert torch.equal(affine_modulate(features, *maps), affine_modulate(features, gamma, beta))
    other = maps[0].clone()
    other[0, 1, 2, 3] += 1.0
    changed = affine_modulate(features, other, maps[1]) != affine_modulate(features, *maps)
    assert changed.nonzero().tolist() == [[0, 1, 2, 3]]


def test_half_types_are_rounded_once() -> None:
    """In half arithmetic, 1 + 0.001 (gamma - 1) would lose most of its digits."""
    features, gamma, beta = draw(2, 3, 5, 4).half(), draw(2, 3, seed=1).half(), draw(2, 3, seed=2).half()
    exact = affine_modulate(features.double(), gamma.double(), beta.double(), strength=0.001)
    assert torch.equal(affine_modulate(features, gamma, beta, strength=0.001), exact.half())


def test_gradients() -> None:
    given = [draw(2, 2, 2, 3), draw(2, 2, seed=1), draw(2, 2, seed=2), draw(2, 2, 2, 3, seed=3)]
    wide = [one.double().requires_grad_() for one in given]
    assert torch.autograd.gradcheck(
        lambda f, gamma, beta, residual: affine_modulate(
            f, gamma, beta, strength=0.7, relu=True, residual=residual, backend="torch"
        ),
        wide,
    )


def test_nothing_breaks_the_graph_of_the_compiler() -> None:
    def step(features: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        return affine_modulate(features, gamma, beta, strength=0.5, relu=True).cos()

    given = [draw(1, 2, 3, 4), draw(1, 2, seed=1), draw(1, 2, seed=2)]
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(*given), step(*given))


NAN = math.nan
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"features": [1.0]}, TypeError, "features must be a torch tensor, got list"),
    ({"features": torch.zeros(1, 2, 3, 4, dtype=torch.int32)}, TypeError, "floating point, got torch.int32"),
    ({"features": torch.zeros(2, 3, 4)}, ValueError, r"\[B, C, H, W\], got shape \[2, 3, 4\]; add the batch"),
    ({"gamma": torch.zeros(1, 2, 1, 1)}, ValueError, r"gamma must be \[1, 2\], .* got \[1, 2, 1, 1\]"),
    ({"gamma": torch.zeros(2)}, ValueError, r"gamma must be \[1, 2\]"),
    ({"beta": torch.zeros(1, 3)}, ValueError, r"beta must have the shape \[1, 2\] of gamma, got \[1, 3\]"),
    ({"residual": torch.zeros(1, 2, 4, 3)}, ValueError, r"residual must have the shape \[1, 2, 3, 4\]"),
    ({"beta": torch.zeros(1, 2, device="meta")}, ValueError, "beta is on meta and features on cpu; move it"),
    ({"strength": NAN}, ValueError, "strength must be finite, got nan"),
    (
        {"backend": "numpy"},
        ValueError,
        "unknown backend 'numpy'; there are 'auto', 'triton', 'cuda', 'torch', 'host'",
    ),
]


@pytest.mark.parametrize(("change", "error", "words"), BAD, ids=[words[:24] for *_, words in BAD])
def test_bad_arguments(change: dict[str, Any], error: type[Exception], words: str) -> None:
    good = {"features": torch.zeros(1, 2, 3, 4), "gamma": torch.zeros(1, 2), "beta": torch.zeros(1, 2)}
    with pytest.raises(error, match=words):
        affine_modulate(**{**good, **change})


def test_triton_by_name_says_why_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    features, gamma = torch.zeros(1, 2, 3, 4), torch.zeros(1, 2)
    with pytest.raises(BackendUnavailable, match="backend 'triton' cannot run: the tensors are on cpu"):
        affine_modulate(features, gamma, gamma, backend="triton")
    with pytest.raises(BackendUnavailable, match="gamma is float64, and the kernels compute in float32"):
        affine_modulate(features, gamma.double(), gamma, backend="triton")


def test_import_needs_neither_torch_nor_triton() -> None:
    code = "import sys, pitviper.kernels; print(sorted({'torch', 'triton'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
