# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels as operators of torch: schema, shapes without data, autograd, one graph for the compiler."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pitviper.kernels import affine_modulate, samf_join, samf_split

from .conftest import Draw


@pytest.mark.parametrize("per_pixel", [False, True])
@pytest.mark.parametrize("layout", ["rows", "channels last"])
def test_affine_modulate(draw: Draw, layout: str, per_pixel: bool) -> None:
    from pitviper.kernels.affine_modulate.torch_op import modulate, modulate_backward

    shape = (2, 3, 4, 5)
    given = [
        draw(*shape, layout=layout),
        *(draw(*(shape if per_pixel else shape[:2]), seed=k) for k in (1, 2)),
    ]
    for one in given:
        one.requires_grad_()
    torch.library.opcheck(modulate, (*given, draw(*shape, seed=3, layout=layout).requires_grad_(), 0.5, True))
    torch.library.opcheck(modulate, (*given, None, 0.5, False))
    plain = [one.detach() for one in given]
    slope = draw(*shape, seed=4)
    for wanted in ([True, True, False], [False, True, False], [True, False, False]):
        torch.library.opcheck(modulate_backward, (slope, *plain, None, 0.5, True, wanted))


@pytest.mark.parametrize("layout", ["rows", "channels last"])
def test_samf(draw: Draw, layout: str) -> None:
    from pitviper.kernels.samf_fuse.torch_op import join, split, split_backward

    features, halves = (
        draw(2, 4, 4, 5, layout=layout),
        [draw(2, 2, 4, 5, seed=k, layout=layout) for k in (1, 2)],
    )
    prior = [draw(2, 2, 2, 3, seed=k) for k in (3, 4)]
    torch.library.opcheck(split, tuple(one.clone().requires_grad_() for one in (features, *prior)))
    torch.library.opcheck(join, tuple(one.clone().requires_grad_() for one in (*halves, features)))
    torch.library.opcheck(split_backward, (*halves, features, prior[0], torch.float32, [True, True]))


def test_one_graph_forward_and_backward(draw: Draw) -> None:
    """Compiled with fullgraph, results and gradients are those of the plain call, bit for bit."""

    def step(features: Tensor, scale: Tensor, shift: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        first, second = samf_split(features, scale, shift, backend="triton")
        joined = samf_join(first, second, features, backend="triton")
        return affine_modulate(joined, gamma, beta, strength=0.5, relu=True, backend="triton")

    shapes = [(1, 4, 4, 6), (1, 2, 2, 3), (1, 2, 2, 3), (1, 4), (1, 4)]
    given = [draw(*shape, seed=k).requires_grad_() for k, shape in enumerate(shapes)]
    found = [torch.compile(step, fullgraph=True, backend="aot_eager"), step]
    results = []
    for run in found:
        out = run(*given)
        results.append([out, *torch.autograd.grad(out.square().sum(), given)])
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))
