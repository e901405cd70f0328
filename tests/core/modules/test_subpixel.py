# SPDX-License-Identifier: Apache-2.0
"""Full-resolution convolutions at half resolution are the same function, up to and including the border."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from pitviper.core.modules.subpixel import FullResolutionConv, FullResolutionHead, half_resolution_kernel


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("c_in", "c_out"), [(1, 1), (1, 4), (4, 4), (3, 5)])
@pytest.mark.parametrize("size", [(2, 2), (2, 8), (6, 4), (12, 10)])
def test_half_resolution_kernel(c_in: int, c_out: int, size: tuple[int, int]) -> None:
    x, weight = random(2, c_in, *size), random(c_out, c_in, 3, 3, seed=1)
    want = F.pixel_unshuffle(F.conv2d(x, weight, padding=1), 2)
    found = F.conv2d(F.pixel_unshuffle(x, 2), half_resolution_kernel(weight), padding=1)
    # float64: the same products in another order.
    assert torch.allclose(found, want, rtol=0, atol=1e-13)


def test_half_resolution_kernel_moves_weights_and_makes_none() -> None:
    """Each of the 9 weights appears once for each of the 4 phases of an output pixel."""
    weight = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    kernel = half_resolution_kernel(weight)
    assert kernel.shape == (4, 4, 3, 3)
    for phase in kernel:
        assert sorted(phase[phase != 0].tolist()) == list(range(1, 10))


def test_every_pixel_reaches_its_neighbours_at_the_border_too() -> None:
    """One pixel through a kernel of ones lights its 3x3 neighbourhood, cut at the frame, for every place."""
    kernel = half_resolution_kernel(torch.ones(1, 1, 3, 3))
    for row in range(6):
        for column in range(6):
            frame = torch.zeros(1, 1, 6, 6)
            frame[0, 0, row, column] = 1
            lit = F.pixel_shuffle(F.conv2d(F.pixel_unshuffle(frame, 2), kernel, padding=1), 2)[0, 0]
            want = torch.zeros(6, 6)
            want[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2] = 1
            assert torch.equal(lit, want), (row, column)


def test_full_resolution_conv_fuse() -> None:
    torch.manual_seed(0)
    conv = FullResolutionConv(4, 4)
    with torch.no_grad():
        conv(torch.randn(4, 16, 8, 8) * 2 + 1)  # moves the running statistics
        conv.conv.norm.weight.uniform_(0.5, 1.5)
        conv.conv.norm.bias.uniform_(-1, 1)
        conv.eval()
        x = torch.randn(2, 16, 8, 12)
        want, found = conv(x), conv.fuse()(x)
    assert float(want.max()) > 0.5
    assert float((want - found).abs().max()) < 1e-5 * float(want.max())


def test_full_resolution_head_fuse() -> None:
    torch.manual_seed(0)
    head = FullResolutionHead(5)
    x = torch.randn(2, 20, 6, 4)
    with torch.no_grad():
        want, found = head(x), head.fuse()(x)
    assert want.shape == (2, 4, 6, 4)
    assert float((want - found).abs().max()) < 1e-6 * float(want.max() - want.min())


def test_full_resolution_head_starts_at_the_prior() -> None:
    head = FullResolutionHead(3, prior=0.02)
    with torch.no_grad():
        assert torch.sigmoid(head(torch.zeros(1, 12, 2, 2))) == pytest.approx(0.02, abs=1e-6)
