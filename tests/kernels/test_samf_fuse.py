# SPDX-License-Identifier: Apache-2.0
"""What `samf_split` and `samf_join` promise on every machine: the definition, its arguments, and how it meets torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pitviper.kernels import BackendUnavailable, samf_join, samf_split


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_split_by_hand() -> None:
    """A prior of two columns over four: the outer pixels take its ends, the inner ones a quarter of the other."""
    features = torch.tensor([2.0, 10.0]).reshape(1, 2, 1, 1).repeat(1, 1, 1, 4)
    scale = torch.tensor([[[[1.0, 3.0]]]])
    first, second = samf_split(features, scale, 10 * scale)
    assert first.flatten().tolist() == [2.0, 3.0, 5.0, 6.0]
    assert second.flatten().tolist() == [20.0, 25.0, 35.0, 40.0]


def test_join_by_hand() -> None:
    features = torch.arange(4.0).reshape(1, 4, 1, 1)
    found = samf_join(10 * features[:, :2], 100 * features[:, 2:], features)
    assert found.flatten().tolist() == [0.0, 11.0, 202.0, 303.0]


def test_gradients() -> None:
    given = [
        one.double().requires_grad_()
        for one in (draw(1, 2, 3, 5), draw(1, 1, 2, 3, seed=1), draw(1, 1, 2, 3, seed=2))
    ]
    assert torch.autograd.gradcheck(lambda *tensors: samf_split(*tensors, backend="torch"), given)


def test_nothing_breaks_the_graph_of_the_compiler() -> None:
    def step(features: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        first, second = samf_split(features, scale, shift)
        return samf_join(first.cos(), second.sin(), features)

    given = (draw(1, 4, 5, 3), draw(1, 2, 2, 2, seed=1), draw(1, 2, 2, 2, seed=2))
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    # The compiler writes the interpolation out with the weights in another order: a few float32 roundings.
    assert torch.allclose(compiled(*given), step(*given), rtol=1e-6, atol=1e-6)


HALF = torch.zeros(1, 2, 3, 4)
BAD_SPLIT: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"features": torch.zeros(1, 3, 3, 4)},
        ValueError,
        r"even number of channels, two halves, got \[1, 3, 3, 4\]",
    ),
    ({"features": None}, TypeError, "features must be a torch tensor, got NoneType"),
    (
        {"scale": torch.zeros(1, 4, 3, 4)},
        ValueError,
        r"scale must be \[1, 2, height, width\], got \[1, 4, 3, 4\]",
    ),
    ({"scale": torch.zeros(2, 2, 3, 4)}, ValueError, r"scale must be \[1, 2, height, width\]"),
    (
        {"scale": torch.zeros(1, 2, 0, 4), "shift": torch.zeros(1, 2, 0, 4)},
        ValueError,
        "scale must have 1 to",
    ),
    ({"shift": torch.zeros(1, 2, 4, 3)}, ValueError, r"shift must have the shape \[1, 2, 3, 4\] of scale"),
    ({"shift": HALF.int()}, TypeError, "shift must be floating point, got torch.int32"),
    ({"scale": HALF.to("meta"), "shift": HALF}, ValueError, "scale is on meta and features on cpu"),
    (
        {"backend": "numpy"},
        ValueError,
        "unknown backend 'numpy'; there are 'auto', 'triton', 'cuda', 'torch', 'host'",
    ),
]
BAD_JOIN: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"second": torch.zeros(1, 2, 3, 5)}, ValueError, r"second must have the shape \[1, 2, 3, 4\] of first"),
    ({"features": HALF}, ValueError, r"features must be \[1, 4, 3, 4\], twice the channels of first"),
    ({"first": torch.zeros(2, 3, 4)}, ValueError, r"first must be \[B, C, H, W\], got shape \[2, 3, 4\]"),
]


@pytest.mark.parametrize(("change", "error", "words"), BAD_SPLIT, ids=[words[:24] for *_, words in BAD_SPLIT])
def test_bad_arguments_of_the_split(change: dict[str, Any], error: type[Exception], words: str) -> None:
    good = {"features": torch.zeros(1, 4, 6, 8), "scale": HALF, "shift": HALF}
    with pytest.raises(error, match=words):
        samf_split(**{**good, **change})


@pytest.mark.parametrize(("change", "error", "words"), BAD_JOIN, ids=[words[:24] for *_, words in BAD_JOIN])
def test_bad_arguments_of_the_join(change: dict[str, Any], error: type[Exception], words: str) -> None:
    good = {"first": HALF, "second": HALF, "features": torch.zeros(1, 4, 3, 4)}
    with pytest.raises(error, match=words):
        samf_join(**{**good, **change})


def test_triton_by_name_says_why_it_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(BackendUnavailable, match="backend 'triton' cannot run: the tensors are on cpu"):
        samf_join(HALF, HALF, torch.zeros(1, 4, 3, 4), backend="triton")
