# SPDX-License-Identifier: Apache-2.0
"""`residual_block` on the host: the GPU's kernel body against the definition, in bits where sums are exact."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from pitviper.kernels import native
from pitviper.kernels.conv_block import Convolution, conv_block, maps
from pitviper.kernels.residual_block import residual_block
from pitviper.kernels.testing import assert_host_writes, sparse_weight, whole_numbers

DTYPES = (np.float32, np.float16, ml_dtypes.bfloat16)
SIZES = ((1, 1), (7, 13), (33, 65))


def convolution(rng: np.random.Generator, inputs: int, outputs: int) -> Convolution:
    weight = sparse_weight(rng, (outputs, inputs, 3, 3), present=6.0)
    return Convolution(weight, whole_numbers(rng, (outputs,), most=1))


def assert_same(x: Any, first: Convolution, second: Convolution, **options: Any) -> Any:
    """Runs both backends; the host's result is written over NaN, its threads once in each order."""
    expected = residual_block(x, first, second, backend="numpy", **options)
    return assert_host_writes(
        lambda out: residual_block(x, first, second, out=out, backend="host", **options), expected
    )


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_every_size_equals_the_definition(dtype: Any, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x = whole_numbers(rng, (2, *size, 16), dtype)
    assert_same(x, convolution(rng, 16, 16), convolution(rng, 16, 16))


@pytest.mark.parametrize("channels", [32, 48, 64, 80, 128])
def test_every_number_of_channels_equals_the_definition(channels: int) -> None:
    rng = np.random.default_rng(1)
    x = whole_numbers(rng, (1, 9, 18, channels), np.float16)
    assert_same(x, convolution(rng, channels, channels), convolution(rng, channels, channels))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_a_stem_of_two_convolutions_reads_the_frame(dtype: Any) -> None:
    rng = np.random.default_rng(2)
    frame = whole_numbers(rng, (2, 14, 38), dtype)
    second = convolution(rng, 16, 16)
    assert assert_same(frame, convolution(rng, 4, 16), second, shortcut=False).shape == (2, 7, 19, 16)
    assert assert_same(frame, convolution(rng, 1, 16), second, shortcut=False).shape == (2, 14, 38, 16)


def test_a_pair_without_shortcut_may_change_the_channels() -> None:
    rng = np.random.default_rng(3)
    for inputs, channels in ((16, 48), (64, 16)):
        x = whole_numbers(rng, (1, 9, 17, inputs), np.float16)
        assert_same(
            x, convolution(rng, inputs, channels), convolution(rng, channels, channels), shortcut=False
        )


def test_the_map_between_is_zero_outside_the_picture() -> None:
    """Its bias alone makes every pixel of it 1; computed beyond the border, the corners would see nine of them."""
    nothing = np.zeros((16, 16, 3, 3), np.float32)
    ones = np.zeros((16, 16, 3, 3), np.float32)
    ones[:, 0] = 1.0
    first, second = Convolution(nothing, np.ones(16, np.float32)), Convolution(ones, np.zeros(16, np.float32))
    got = residual_block(np.zeros((1, 9, 20, 16), np.float16), first, second, backend="host")[0, :, :, 3]
    expected = np.full((9, 20), 9.0, np.float16)
    expected[[0, -1]] = expected[:, [0, -1]] = 6.0
    expected[np.ix_([0, -1], [0, -1])] = 4.0
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("position", [(0, 0), (7, 15), (8, 16), (16, 39)])
def test_a_single_pixel_stays_in_place_and_reaches_two_pixels_far(position: tuple[int, int]) -> None:
    """At the corners of the picture and on both sides of the edges between blocks."""
    ones = np.zeros((16, 16, 3, 3), np.float32)
    ones[5, 5] = 1.0
    conv = Convolution(ones, np.zeros(16, np.float32))
    x = np.zeros((1, 17, 40, 16), np.float32)
    x[(0, *position, 5)] = 1.0
    got = residual_block(x, conv, conv, backend="host")[0]
    assert not got[..., np.arange(16) != 5].any()
    y, x_ = np.ogrid[:17, :40]
    near = [np.maximum(3.0 - np.abs(axis - at), 0.0) for axis, at in ((y, position[0]), (x_, position[1]))]
    for line, at in zip(near, position, strict=True):
        if at in (0, line.size - 1):
            line.flat[at] = 2.0  # the first convolution's pixel beyond the border is padding to the second
    expected = near[0] * near[1]
    expected[position] += 1.0
    np.testing.assert_array_equal(got[..., 5], expected)


def test_translation_commutes_with_it_across_blocks() -> None:
    rng = np.random.default_rng(4)
    first, second = convolution(rng, 16, 16), convolution(rng, 16, 16)
    zero = np.zeros(16, np.float32)
    first, second = Convolution(first.weight, zero), Convolution(second.weight, zero)
    x = np.zeros((1, 30, 50, 16), np.float16)
    x[:, 4:10, 5:12] = whole_numbers(rng, (1, 6, 7, 16), np.float16)
    plain = residual_block(x, first, second, backend="host")
    assert plain.any()
    moved = residual_block(np.roll(x, (13, 29), (1, 2)), first, second, backend="host")
    np.testing.assert_array_equal(moved, np.roll(plain, (13, 29), (1, 2)))
    turned = [Convolution(np.ascontiguousarray(c.weight[:, :, :, ::-1]), c.bias) for c in (first, second)]
    mirrored = residual_block(x[:, :, ::-1], *turned, backend="host")
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_real_numbers_give_what_two_launches_give(dtype: Any) -> None:
    """The map between is rounded to the stored type in both, from sums in the same order: the bits are the same."""
    rng = np.random.default_rng(5)
    x = maps.aligned(rng.normal(size=(2, 11, 21, 32)).astype(dtype))
    weights = rng.normal(size=(2, 32, 32, 3, 3)).astype(np.float32) / 17
    biases = rng.normal(size=(2, 32)).astype(np.float32)
    first, second = (Convolution(w, b, relu=True) for w, b in zip(weights, biases, strict=True))
    between = conv_block(x, first, backend="host")
    apart = conv_block(between, second, residual=x, backend="host")
    together = residual_block(x, first, second, backend="host")
    np.testing.assert_array_equal(together.view(np.uint8), apart.view(np.uint8))


def test_batches_are_independent_and_may_be_empty() -> None:
    rng = np.random.default_rng(6)
    first, second = convolution(rng, 16, 16), convolution(rng, 16, 16)
    x = whole_numbers(rng, (4, 5, 6, 16), np.float16)
    together = residual_block(x, first, second, backend="host")
    for image, result in zip(x, together, strict=True):
        np.testing.assert_array_equal(residual_block(image[None], first, second, backend="host")[0], result)
    assert residual_block(x[:0], first, second, backend="host").shape == (0, 5, 6, 16)


def test_bad_input_is_refused_in_words() -> None:
    rng = np.random.default_rng(7)
    good, wide = convolution(rng, 16, 16), convolution(rng, 16, 32)
    x = whole_numbers(rng, (1, 4, 5, 16))
    point = Convolution(good.weight[:, :, :1, :1], good.bias)
    strided = Convolution(good.weight, good.bias, stride=2)
    for arguments, options, error, words in (
        ((x[0], good, good), {}, ValueError, "frame"),
        ((x.astype(np.int32), good, good), {}, TypeError, "int32"),
        ((x, point, good), {}, ValueError, "first must be 3x3"),
        ((x, good, strided), {}, ValueError, "second must be 3x3"),
        ((x, wide, wide), {}, ValueError, "takes 16 channels"),
        ((x, wide, convolution(rng, 32, 32)), {}, ValueError, "shortcut=False"),
        ((x, good, wide), {"shortcut": False}, ValueError, "same number of outputs"),
        ((x, good, good), {"out": x[:, ::-1]}, ValueError, "C order"),
    ):
        with pytest.raises(error, match=words):
            residual_block(*arguments, backend="host", **options)


def test_compiled_code_refuses_to_overwrite_its_input() -> None:
    x = maps.empty((1, 4, 4, 16), np.float32)
    given = {"dtype": 0, "frame_dtype": 0, "load": 0, "batch": 1, "height": 4, "width": 4, "in_channels": 16}
    given |= {"input": x.ctypes.data, "output": x.ctypes.data, "channels": 16, "shortcut": True}
    given |= dict.fromkeys(("weight1", "bias1", "weight2", "bias2"), x.ctypes.data)
    with pytest.raises(ValueError, match="output must not be input"):
        native.load().residual_block(given)
