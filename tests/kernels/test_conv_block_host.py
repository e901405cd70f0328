# SPDX-License-Identifier: Apache-2.0
"""`conv_block` on the host: the body of the GPU's kernel against the definition, bit for bit where sums are exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from pitviper.kernels import native
from pitviper.kernels.conv_block import Convolution, Head, Merge, conv_block, maps
from pitviper.kernels.conv_block.host_impl import input_arguments, pack_weights, unpack_weights
from pitviper.kernels.testing import assert_host_writes, sparse_weight, whole_numbers

Array = Any
DTYPES = (np.float32, np.float16, ml_dtypes.bfloat16)
SIZES = ((1, 1), (7, 13), (33, 65))


def convolution(
    rng: np.random.Generator, inputs: int, outputs: int, side: int, **settings: Any
) -> Convolution:
    return Convolution(
        sparse_weight(rng, (outputs, inputs, side, side), present=8.0),
        whole_numbers(rng, (outputs,)),
        **settings,
    )


def assert_same(x: Array, conv: Convolution, **options: Any) -> Array:
    """Runs both backends; the host's result is written over NaN, its threads once in each order."""
    expected = conv_block(x, conv, backend="numpy", **options)
    return assert_host_writes(lambda out: conv_block(x, conv, backend="host", out=out, **options), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_every_kernel_and_stride_equals_the_definition(dtype: Any, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    x = whole_numbers(rng, (2, *size, 32), dtype)
    for side, stride in ((3, 1), (3, 2), (1, 1), (1, 2)):
        conv = convolution(rng, 32, 48, side, stride=stride, relu=stride == 1)
        shape = (2, -(-size[0] // stride), -(-size[1] // stride), 48)
        residual = whole_numbers(rng, shape, dtype) if side == 3 else None
        assert assert_same(x, conv, residual=residual).shape == shape


@pytest.mark.parametrize(("inputs", "outputs"), [(16, 16), (16, 80), (48, 64), (80, 32), (128, 128)])
def test_every_number_of_channels_equals_the_definition(inputs: int, outputs: int) -> None:
    rng = np.random.default_rng(1)
    x = whole_numbers(rng, (1, 6, 19, inputs), np.float16)
    assert_same(x, convolution(rng, inputs, outputs, 3, relu=True))


def test_a_map_of_many_blocks_takes_the_form_with_more_rows() -> None:
    rng = np.random.default_rng(2)
    x = whole_numbers(rng, (3, 70, 130, 16), np.float16)
    for outputs in (16, 32, 48, 64):
        assert_same(x[:, :, : 130 if outputs == 16 else 90], convolution(rng, 16, outputs, 3))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_frames_are_read_as_one_plane_and_space_to_depth(dtype: Any) -> None:
    rng = np.random.default_rng(3)
    frame = whole_numbers(rng, (2, 14, 26), dtype)
    assert assert_same(frame, convolution(rng, 1, 16, 3, relu=True)).shape == (2, 14, 26, 16)
    assert assert_same(frame, convolution(rng, 4, 16, 3, relu=True)).shape == (2, 7, 13, 16)
    assert_same(frame[:, :, :1], convolution(rng, 1, 32, 1))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
@pytest.mark.parametrize("affine", [False, True], ids=["add", "affine"])
def test_merging_equals_the_definition(dtype: Any, affine: bool) -> None:
    rng = np.random.default_rng(4)
    for scale, low_channels, channels, relu in ((2, 48, 32, True), (1, 16, 16, False), (2, 16, 80, True)):
        x = whole_numbers(rng, (2, 10, 22, channels), dtype, most=1)
        low = whole_numbers(rng, (2, 10 // scale, 22 // scale, low_channels), dtype, most=1)
        parts = 2 * channels if affine else channels
        weight = sparse_weight(rng, (parts, low_channels, 1, 1), present=8.0)
        merge = Merge(low, weight, whole_numbers(rng, (parts,), most=1), scale, relu, affine, strength=0.5)
        for side, stride in ((3, 1), (1, 1), (3, 2)):
            assert_same(x, convolution(rng, channels, 16, side, stride=stride), merge=merge)


def test_upsampling_adds_the_skip_connection_at_full_size() -> None:
    rng = np.random.default_rng(5)
    for dtype in DTYPES:
        x, skip = whole_numbers(rng, (2, 5, 9, 32), dtype), whole_numbers(rng, (2, 10, 18, 16), dtype)
        conv = convolution(rng, 32, 16, 1, relu=True, upsample=2)
        assert_same(x, conv, residual=skip)
        assert_same(x, conv)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_heads_give_logits_at_full_size(dtype: Any) -> None:
    rng = np.random.default_rng(6)
    x, conv = whole_numbers(rng, (2, 6, 18, 16), dtype), convolution(rng, 16, 16, 3, relu=True)
    coarse_weight = whole_numbers(rng, (4, 32))
    for outputs, half in ((4, (6, 18)), (1, (3, 9))):
        head = Head(whole_numbers(rng, (outputs, 16)), whole_numbers(rng, (outputs,)))
        side = 2 if outputs == 4 else 1
        assert assert_same(x, conv, head=head).shape == (2, 6 * side, 18 * side)
        with_coarse = Head(head.weight, head.bias, whole_numbers(rng, (2, *half, 32), dtype), coarse_weight)
        assert_same(x, conv, head=with_coarse)


def test_decoder_of_a_packed_stage_runs_as_one_launch() -> None:
    """Join with the half-resolution map, convolve, and add the trunk's own logits: the last launch of pit-n."""
    rng = np.random.default_rng(7)
    skip, low = (
        whole_numbers(rng, (1, 12, 20, 16), np.float16),
        whole_numbers(rng, (1, 12, 20, 32), np.float16),
    )
    merge = Merge(low, sparse_weight(rng, (16, 32, 1, 1), present=8.0), whole_numbers(rng, (16,)), scale=1)
    head = Head(whole_numbers(rng, (4, 16)), whole_numbers(rng, (4,)), low, whole_numbers(rng, (4, 32)))
    assert_same(skip, convolution(rng, 16, 16, 3, relu=True), merge=merge, head=head)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_real_numbers_differ_by_rounding_only(dtype: Any) -> None:
    rng = np.random.default_rng(8)
    x = maps.aligned(rng.normal(size=(1, 9, 21, 64)).astype(dtype))
    weight = rng.normal(size=(64, 64, 3, 3)).astype(np.float32).astype(dtype).astype(np.float32)
    conv = Convolution(weight, rng.normal(size=64).astype(np.float32))
    expected = conv_block(x, conv, backend="numpy").astype(np.float64)
    got = conv_block(x, conv, backend="host").astype(np.float64)
    magnitude = conv_block(
        np.abs(x.astype(np.float32)), Convolution(np.abs(weight), np.abs(conv.bias)), backend="numpy"
    )
    # One rounding to the stored type, and 577 float32 additions whose every partial sum is below `magnitude`.
    step = float(ml_dtypes.finfo(dtype).eps)
    assert np.all(np.abs(got - expected) <= step * np.abs(expected) + 577 * 2.0**-24 * magnitude)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_the_tensor_core_step_is_a_matrix_product(dtype: Any) -> None:
    """Every element of one 16 x 16 x 16 step tells its row, its column and the channels that it summed."""
    rows, columns = np.arange(16), np.arange(16)
    left = (rows[:, None] == columns[None, :]) * 1.0 + (rows[:, None] == (columns[None, :] + 3) % 16) * 2.0
    right = np.asarray([[(7 * k + 3 * n) % 16 for n in columns] for k in rows], np.float32)
    conv = Convolution(np.ascontiguousarray(right.T)[:, :, None, None], np.zeros(16, np.float32))
    got = conv_block(left.astype(dtype)[None, None], conv, backend="host")[0, 0]
    np.testing.assert_array_equal(got.astype(np.float32), left @ right)


def test_a_float32_frame_enters_half_precision_maps_rounded() -> None:
    rng = np.random.default_rng(14)
    frame = maps.aligned(rng.normal(size=(1, 10, 12)).astype(np.float32))
    conv = convolution(rng, 4, 16, 3)
    expected = conv_block(frame.astype(np.float16), conv, backend="host")
    packed, out = pack_weights(conv.weight, np.float16), maps.empty(expected.shape, np.float16)
    given = input_arguments(frame, 4) | {"dtype": maps.DTYPES["float16"], "out_channels": 16, "kernel": 3}
    given |= {"stride": 1, "relu": False, "upsample": 1, "weight": packed.ctypes.data}
    given |= {"bias": conv.bias.ctypes.data, "residual": 0, "output": out.ctypes.data}
    native.load().conv_block(given)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("position", [(0, 0), (0, 12), (3, 7), (6, 12)])
def test_a_single_pixel_spreads_the_flipped_kernel_around_itself(position: tuple[int, int]) -> None:
    rng = np.random.default_rng(9)
    weight = rng.integers(-9, 10, (16, 16, 3, 3)).astype(np.float32)
    x = np.zeros((1, 7, 13, 16), np.float16)
    x[(0, *position, 5)] = 1.0
    got = conv_block(x, Convolution(weight, np.zeros(16, np.float32)), backend="host").astype(np.float32)
    expected = np.zeros((9, 15, 16), np.float32)
    row, column = position
    expected[row : row + 3, column : column + 3] = weight[:, 5, ::-1, ::-1].transpose(1, 2, 0)
    np.testing.assert_array_equal(got[0], expected[1:-1, 1:-1])


def test_translation_and_flips_commute_with_it() -> None:
    rng = np.random.default_rng(10)
    conv = convolution(rng, 16, 32, 3, relu=True)
    flipped = Convolution(np.ascontiguousarray(conv.weight[:, :, ::-1, ::-1]), conv.bias, relu=True)
    x = np.zeros((1, 24, 40, 16), np.float16)
    x[:, 3:9, 4:11] = whole_numbers(rng, (1, 6, 7, 16), np.float16)
    plain = conv_block(x, conv, backend="host")
    moved = conv_block(np.roll(x, (9, 17), (1, 2)), conv, backend="host")
    np.testing.assert_array_equal(moved, np.roll(plain, (9, 17), (1, 2)))
    np.testing.assert_array_equal(conv_block(x[:, ::-1, ::-1], flipped, backend="host"), plain[:, ::-1, ::-1])


def test_nan_stays_where_it_is_and_a_batch_may_be_empty() -> None:
    rng = np.random.default_rng(11)
    conv = convolution(rng, 16, 16, 1, relu=True)
    x = whole_numbers(rng, (1, 5, 5, 16), np.float32)
    x[0, 2, 3, 0] = np.nan
    dirty = np.isnan(conv_block(x, conv, backend="host")).any(axis=-1)[0]
    assert list(zip(*np.nonzero(dirty), strict=True)) == [(2, 3)]
    assert conv_block(x[:0], conv, backend="host").shape == (0, 5, 5, 16)
    images = whole_numbers(rng, (5, 3, 4, 16), np.float16)
    together = conv_block(images, conv, backend="host")
    for image, result in zip(images, together, strict=True):
        np.testing.assert_array_equal(conv_block(image[None], conv, backend="host")[0], result)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: np.dtype(d).name)
def test_weights_come_back_from_their_packed_order(dtype: Any) -> None:
    rng = np.random.default_rng(12)
    for shape in ((16, 16, 3, 3), (32, 4, 3, 3), (48, 32, 1, 1), (20, 1, 3, 3)):
        weight = rng.normal(size=shape).astype(np.float32)
        packed = pack_weights(weight, dtype)
        padded = -(-shape[0] // 16) * -(-shape[1] // 16) * 256 * shape[2] * shape[3]
        assert packed.shape == (padded,)
        assert np.count_nonzero(packed) == weight.size
        np.testing.assert_array_equal(unpack_weights(packed, shape), weight.astype(dtype).astype(np.float32))
    with pytest.raises(ValueError, match="packed elements"):
        unpack_weights(packed[:-1], shape)


def test_a_lane_finds_its_tensor_core_operand_in_sixteen_bytes() -> None:
    """The register layout of mma.m16n8k16 in PTX: b0, b1 of k = 2t, 2t + 1, b2, b3 eight further, of column g."""
    weight = np.arange(256, dtype=np.float32).reshape(16, 16, 1, 1)
    packed = pack_weights(weight, np.float16).reshape(32, 2, 2, 2)
    for lane in range(32):
        g, t = divmod(lane, 4)
        for half in range(2):
            operand = [weight[8 * half + g, k, 0, 0] for k in (2 * t, 2 * t + 1, 2 * t + 8, 2 * t + 9)]
            assert packed[lane, half].ravel().tolist() == operand


def _bad(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    rng = np.random.default_rng(13)
    given: dict[str, Any] = {
        "x": whole_numbers(rng, (1, 4, 6, 16)),
        "convolution": convolution(rng, 16, 16, 1),
    }
    change(given)
    return given


BAD: dict[str, tuple[type[Exception], str, Callable[[dict[str, Any]], Any]]] = {
    "list": (TypeError, "x must be a numpy array", lambda g: g.update(x=[[1.0]])),
    "double": (TypeError, "float64", lambda g: g.update(x=g["x"].astype(np.float64))),
    "swapped bytes": (TypeError, "x must be float32", lambda g: g.update(x=g["x"].astype(">f4"))),
    "two axes": (ValueError, r"\[N, H, W, C\]", lambda g: g.update(x=g["x"][0, 0])),
    "no pixel": (ValueError, "no pixel", lambda g: g.update(x=g["x"][:, :0])),
    "15 channels": (ValueError, "multiple of 16 channels, got 15", lambda g: g.update(x=g["x"][..., :15])),
    "other channels": (
        ValueError,
        "takes 16 channels",
        lambda g: g.update(x=np.zeros((1, 2, 2, 32), np.float32)),
    ),
    "frame": (ValueError, "convolution of 1 channel", lambda g: g.update(x=g["x"][..., 0])),
    "no convolution": (TypeError, "must be a Convolution", lambda g: g.update(convolution=None)),
    "kernel": (
        ValueError,
        "k 1 or 3",
        lambda g: g.update(
            convolution=Convolution(np.zeros((16, 16, 5, 5), np.float32), np.zeros(16, np.float32))
        ),
    ),
    "weight NaN": (ValueError, "NaN", lambda g: g["convolution"].weight.fill(np.nan)),
    "bias": (
        TypeError,
        "bias must be a float32",
        lambda g: g.update(convolution=Convolution(g["convolution"].weight, np.zeros(16))),
    ),
    "stride": (
        ValueError,
        "stride and upsample",
        lambda g: g.update(convolution=Convolution(g["convolution"].weight, g["convolution"].bias, stride=3)),
    ),
    "residual": (
        ValueError,
        r"residual must have shape \(1, 4, 6, 16\)",
        lambda g: g.update(residual=np.zeros((1, 4, 7, 16), np.float32)),
    ),
    "residual type": (TypeError, "like x", lambda g: g.update(residual=np.zeros((1, 4, 6, 16), np.float16))),
    "merge": (
        ValueError,
        "merge.low must have shape",
        lambda g: g.update(merge=Merge(g["x"], g["convolution"].weight, g["convolution"].bias)),
    ),
    "head": (
        ValueError,
        "a head needs weight",
        lambda g: g.update(head=Head(np.zeros((3, 16), np.float32), np.zeros(3, np.float32))),
    ),
    "out": (
        ValueError,
        "16-byte aligned",
        lambda g: g.update(out=maps.empty((1, 4, 6, 17), np.float32)[..., 1:]),
    ),
    "out type": (TypeError, "out must be", lambda g: g.update(out=maps.empty((1, 4, 6, 16), np.float16))),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_words(case: str) -> None:
    error, words, change = BAD[case]
    given = _bad(change)
    with pytest.raises(error, match=words):
        conv_block(given.pop("x"), given.pop("convolution"), backend="host", **given)


def test_compiled_code_refuses_what_python_let_through() -> None:
    x = maps.empty((1, 4, 4, 16), np.float32)
    given = {"dtype": 0, "frame_dtype": 0, "load": 0, "batch": 1, "height": 4, "width": 4, "in_channels": 16}
    given |= {"input": x.ctypes.data, "output": x.ctypes.data, "out_channels": 16, "kernel": 1, "stride": 1}
    given |= {"relu": False, "upsample": 1, "weight": x.ctypes.data, "bias": x.ctypes.data, "residual": 0}
    for change, words in (
        ({"dtype": 7}, "dtype"),
        ({"batch": -1}, "batch"),
        ({"height": 0}, "height"),
        ({"in_channels": 20}, "in_channels"),
        ({"kernel": 2}, "kernel"),
        ({"input": 0}, "null"),
        ({"output": x.ctypes.data + 8}, "16-byte"),
        ({"height": 1 << 15, "width": 1 << 15}, "elements"),
    ):
        with pytest.raises(ValueError, match=words):
            native.load().conv_block(given | change)
