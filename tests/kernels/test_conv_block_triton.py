# SPDX-License-Identifier: Apache-2.0
"""The Triton convolution against its definition, in the interpreter where there is no GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("triton", reason="triton is not installed; pip install 'pitviper[triton]'")

from pitviper.kernels import registry  # noqa: E402 (after the check that torch and Triton are there)
from pitviper.kernels.conv_block import tiling, torch_op  # noqa: E402
from pitviper.kernels.conv_block.reference import (  # noqa: E402
    Convolution,
    Head,
    Merge,
    conv_block_reference,
)
from pitviper.kernels.conv_block.torch_op import conv_block_tensors  # noqa: E402
from pitviper.kernels.errors import BackendUnavailable  # noqa: E402

pytestmark = pytest.mark.usefixtures("device")
Matches = Callable[[Any, Any, dict[str, Any]], None]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Case:
    """One fusion, and the channels that it is tried with."""

    c_in: int
    c_out: int
    kernel: int = 3
    stride: int = 1
    relu: bool = True
    upsample: int = 1
    residual: bool = False
    frame: bool = False
    outputs: int = 0
    coarse: int = 0


CASES = {
    "3x3": Case(16, 32),
    "stride 2": Case(32, 48, stride=2),
    "residual": Case(48, 48, residual=True),
    "1x1 without ReLU": Case(48, 16, kernel=1, relu=False),
    "decoder": Case(32, 20, kernel=1, upsample=2, residual=True),
    "stem": Case(4, 16, frame=True),
    "stem of one channel": Case(1, 16, stride=2),
    "few channels": Case(5, 7),
    "head of four": Case(16, 16, outputs=4, coarse=32),
    "head of one": Case(16, 16, outputs=1, residual=True),
    "head of one with a coarse map": Case(16, 16, outputs=1, coarse=48),
}


def drawn(case: Case, size: tuple[int, int], dtype: Any, *, batch: int = 2) -> tuple[Any, dict[str, Any]]:
    """The input and the other arguments of a call, rounded to the dtype."""
    rng = torch.Generator().manual_seed(7)

    def normal(*shape: int, like: Any = dtype) -> Any:
        return torch.randn(*shape, generator=rng).to(like).to(DEVICE)

    height, width = size
    rows, columns = (-(-side // case.stride) * case.upsample for side in size)
    x = normal(batch, 1, 2 * height, 2 * width) if case.frame else normal(batch, case.c_in, height, width)
    weight = normal(case.c_out, case.c_in, case.kernel, case.kernel) / (3 * case.c_in**0.5)
    bias = normal(case.c_out, like=torch.float32)
    arguments = {
        "convolution": Convolution(weight, bias, case.stride, case.relu, case.upsample),
        "residual": normal(batch, case.c_out, rows, columns) if case.residual else None,
        "head": None,
    }
    if case.outputs:
        parts = [
            normal(case.outputs, case.c_out, like=torch.float32),
            normal(case.outputs, like=torch.float32),
        ]
        if case.coarse:
            side = 2 if case.outputs == 4 else 1
            coarse = normal(batch, case.coarse, rows * side // 2, columns * side // 2)
            parts += [coarse, normal(4, case.coarse, like=torch.float32)]
        arguments["head"] = Head(*parts)
    return x, arguments


def nhwc(tensor: Any) -> Array:
    values: Array = tensor.detach().float().cpu().numpy()
    return values.transpose(0, 2, 3, 1) if values.ndim == 4 else values


def expected(x: Any, arguments: dict[str, Any], *, absolute: bool = False) -> Array:
    """The definition's result [N, H, W, C]; with ``absolute`` that of absolute values, which rounding scales with."""

    def given(tensor: Any) -> Any:
        values = nhwc(tensor) if tensor.ndim == 4 else tensor.cpu().numpy()
        return np.abs(values) if absolute else values

    convolution, residual, head = (arguments[name] for name in ("convolution", "residual", "head"))
    weight, bias = (t.float().cpu().numpy() for t in (convolution.weight, convolution.bias))
    if absolute:
        weight, bias = np.abs(weight), np.abs(bias)
    frame = x.shape[1] == 1
    if head is not None:
        parts = (head.weight, head.bias, head.coarse, head.coarse_weight)
        head = Head(*(None if part is None else given(part) for part in parts))
    result = conv_block_reference(
        given(x)[..., 0] if frame else given(x),
        replace(convolution, weight=weight, bias=bias),
        residual=None if residual is None else given(residual),
        head=head,
    )
    return result if head is None else result[..., None]


@pytest.fixture
def assert_matches(within: Callable[..., None]) -> Matches:
    """Every element within the rounding of float32 sums in any order, and of the dtype that is stored."""

    def check(result: Any, x: Any, arguments: dict[str, Any]) -> None:
        exact, terms = (expected(x, arguments, absolute=absolute) for absolute in (False, True))
        steps, head = arguments["convolution"].weight[0].numel() + 3, arguments["head"]
        if head is not None:
            steps += head.weight.shape[1] + (0 if head.coarse is None else head.coarse.shape[1]) + 2
        found = result.detach().cpu().permute(0, 2, 3, 1)
        within(found, torch.from_numpy(exact).double(), torch.from_numpy(terms).double(), steps=steps)

    return check


def run(x: Any, arguments: dict[str, Any]) -> Any:
    return conv_block_tensors(x, backend="triton", **arguments)


def combinations() -> list[Any]:
    """Every fusion in float16; in the other types those that load or store in another way."""
    others = ("3x3", "decoder", "stem", "head of one with a coarse map")
    return [
        pytest.param(case, dtype, id=f"{name}-{kind}")
        for kind, dtype in DTYPES.items()
        for name, case in CASES.items()
        if kind == "float16" or name in others
    ]


@pytest.mark.parametrize(("case", "dtype"), combinations())
@pytest.mark.usefixtures("poisoned")
def test_matches_the_definition(case: Case, dtype: Any, assert_matches: Matches) -> None:
    size = (8, 14) if case.outputs == 1 and case.coarse else (7, 13)
    x, arguments = drawn(case, size, dtype, batch=1)
    result = run(x, arguments)
    assert result.dtype == (torch.float32 if case.outputs else dtype)
    assert case.outputs or result.is_contiguous(memory_format=torch.channels_last)
    assert_matches(result, x, arguments)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.usefixtures("poisoned")
def test_a_picture_of_one_pixel(case: Case, assert_matches: Matches) -> None:
    size = (2, 2) if case.outputs == 1 and case.coarse else (1, 1)
    x, arguments = drawn(case, size, torch.float16, batch=1)
    assert_matches(run(x, arguments), x, arguments)


@pytest.mark.parametrize(
    ("name", "dtype"), [("3x3", "float16"), ("stride 2", "bfloat16"), ("stem", "float32")]
)
@pytest.mark.usefixtures("poisoned")
def test_many_tiles_in_both_directions(
    name: str, dtype: str, monkeypatch: pytest.MonkeyPatch, assert_matches: Matches
) -> None:
    """Tiles of large maps, cut off at the right and at the bottom."""
    monkeypatch.setattr(tiling, "_SMALL_MAP", 0)
    x, arguments = drawn(CASES[name], (33, 65), DTYPES[dtype], batch=1)
    assert_matches(run(x, arguments), x, arguments)


def test_more_channels_than_a_program_holds(assert_matches: Matches) -> None:
    case = Case(128, 144, kernel=1)
    x, arguments = drawn(case, (5, 9), torch.float16, batch=1)
    assert_matches(run(x, arguments), x, arguments)


@pytest.mark.parametrize("name", ["decoder", "stem", "head of four"])
def test_images_of_a_batch_do_not_meet(name: str) -> None:
    x, arguments = drawn(CASES[name], (3, 5), torch.float16, batch=3)
    whole = run(x, arguments)
    for i in range(3):
        single = dict(arguments)
        if single["residual"] is not None:
            single["residual"] = single["residual"][i : i + 1]
        if single["head"] is not None:
            single["head"] = replace(single["head"], coarse=single["head"].coarse[i : i + 1])
        torch.testing.assert_close(run(x[i : i + 1], single), whole[i : i + 1], rtol=0, atol=0)


@pytest.mark.parametrize("name", ["3x3", "decoder", "head of four"])
def test_an_empty_batch_gives_an_empty_result(name: str) -> None:
    x, arguments = drawn(CASES[name], (4, 6), torch.float16, batch=0)
    want = conv_block_tensors(x, backend="torch", **arguments)
    result = run(x, arguments)
    assert (result.shape, result.dtype) == (want.shape, want.dtype)


def test_a_pixel_spreads_to_its_neighbours_only() -> None:
    """One bright pixel at each corner and on each side of a tile's border: the kernel, mirrored, and zero elsewhere."""
    weight = torch.arange(1.0, 10.0).reshape(1, 1, 3, 3).expand(16, 16, 3, 3).contiguous()
    places = [(0, 0), (0, 16), (8, 0), (8, 16), (3, 7), (4, 8)]
    x = torch.zeros(len(places), 16, 9, 17, dtype=torch.float16)
    for i, (row, column) in enumerate(places):
        x[i, 5, row, column] = 1.0
    convolution = Convolution(weight.to(DEVICE, torch.float16), torch.zeros(16, device=DEVICE))
    result = conv_block_tensors(x.to(DEVICE), convolution, backend="triton")
    for i, (row, column) in enumerate(places):
        want = torch.zeros(11, 19)
        want[row : row + 3, column : column + 3] = weight[0, 0].flip(0, 1)
        assert (result[i].float().cpu() == want[1:-1, 1:-1]).all()


def test_mirrored_pictures_give_mirrored_results() -> None:
    """Whole numbers add up exactly in any order, so nothing is allowed to differ."""
    rng = torch.Generator().manual_seed(3)
    x = torch.randint(-4, 5, (1, 16, 6, 11), generator=rng).to(DEVICE, torch.float16)
    weight = torch.randint(-3, 4, (16, 16, 3, 3), generator=rng).to(DEVICE, torch.float16)
    bias = torch.zeros(16, device=DEVICE)
    plain = conv_block_tensors(x, Convolution(weight, bias), backend="triton")
    for axis in (2, 3):
        mirrored = conv_block_tensors(x.flip(axis), Convolution(weight.flip(axis), bias), backend="triton")
        assert (mirrored.flip(axis) == plain).all()


def test_a_moved_picture_gives_a_moved_result() -> None:
    x, arguments = drawn(CASES["3x3"], (7, 13), torch.float16, batch=1)
    moved = torch.nn.functional.pad(x, (3, 0, 2, 0))
    inside, whole = run(x, arguments), run(moved, arguments)
    assert (whole[..., 3:, 4:] == inside[..., 1:, 1:]).all()


@pytest.mark.parametrize("layout", ["rows", "cut out of a larger map", "every second column", "expanded"])
def test_the_layout_in_memory_does_not_matter(layout: str) -> None:
    x, arguments = drawn(CASES["3x3"], (5, 7), torch.float16, batch=1)
    want = run(x.contiguous(memory_format=torch.channels_last), arguments)
    big = torch.full((1, 16, 9, 22), float("nan"), dtype=x.dtype, device=DEVICE)
    if layout == "cut out of a larger map":
        big[..., 2:7, 4:11] = x
        x = big[..., 2:7, 4:11]
    elif layout == "every second column":
        big[..., :5, 1:15:2] = x
        x = big[..., :5, 1:15:2]
    elif layout == "expanded":
        x = x[:, :1].expand(-1, 16, -1, -1)
        want = run(x.contiguous(memory_format=torch.channels_last), arguments)
    before = x.clone()
    assert (run(x, arguments) == want).all()
    assert (x == before).all()


def test_nan_and_overflow_are_not_hidden() -> None:
    x, arguments = drawn(CASES["3x3"], (4, 5), torch.float16, batch=1)
    x[0, 3, 1, 2] = float("nan")
    result = run(x, arguments)
    assert result[0, :, 0:3, 1:4].isnan().all()
    assert not result[0, :, 3].isnan().any()
    pixel = torch.full((1, 16, 1, 1), 6e4, dtype=torch.float16, device=DEVICE)
    ones = Convolution(torch.ones(16, 16, 1, 1, device=DEVICE), torch.zeros(16, device=DEVICE))
    assert conv_block_tensors(pixel, ones, backend="triton").isinf().all()


@pytest.mark.parametrize("scale", [1, 2])
def test_a_merge_is_a_pointwise_convolution_and_a_sum(scale: int) -> None:
    x, arguments = drawn(CASES["3x3"], (6, 8), torch.float32, batch=1)
    low = torch.randn(1, 32, 6 // scale, 8 // scale, device=DEVICE)
    weight, bias = torch.randn(16, 32, 1, 1, device=DEVICE) / 6, torch.randn(16, device=DEVICE)
    result = conv_block_tensors(
        x, arguments["convolution"], merge=Merge(low, weight, bias, scale=scale), backend="triton"
    )
    plain = Merge(nhwc(low), weight.cpu().numpy(), bias.cpu().numpy(), scale=scale)
    given = arguments["convolution"]
    convolution = replace(given, weight=given.weight.cpu().numpy(), bias=given.bias.cpu().numpy())
    want = conv_block_reference(nhwc(x), convolution, merge=plain)
    # Two convolutions of at most 147 terms, all of them below 30.
    np.testing.assert_allclose(nhwc(result), want, rtol=0, atol=30 * 147 * 2.0**-24)


def test_torch_is_the_definition_for_an_affine_merge() -> None:
    x, arguments = drawn(CASES["3x3"], (4, 6), torch.float32, batch=1)
    low, weight, bias = torch.randn(1, 8, 2, 3), torch.randn(32, 8, 1, 1), torch.randn(32)
    merge = Merge(low.to(DEVICE), weight.to(DEVICE), bias.to(DEVICE), affine=True, strength=0.3)
    result = conv_block_tensors(x, arguments["convolution"], merge=merge, backend="torch")
    given = arguments["convolution"]
    want = conv_block_reference(
        nhwc(x),
        replace(given, weight=given.weight.cpu().numpy(), bias=given.bias.cpu().numpy()),
        merge=replace(merge, low=nhwc(low), weight=weight.numpy(), bias=bias.numpy()),
    )
    np.testing.assert_allclose(nhwc(result), want, rtol=0, atol=1e-4)
    with pytest.raises(BackendUnavailable, match="affine"):
        conv_block_tensors(x, arguments["convolution"], merge=merge, backend="triton")


@pytest.mark.parametrize("name", ["decoder", "head of four"])
def test_the_operator_is_registered_correctly(name: str) -> None:
    x, arguments = drawn(CASES[name], (1, 1), torch.float32, batch=1)
    convolution, head = arguments["convolution"], arguments["head"]
    parts = [] if head is None else [head.weight, head.bias, head.coarse, head.coarse_weight]
    settings = convolution.stride, convolution.relu, convolution.upsample
    torch.library.opcheck(
        torch_op._operator, (x, convolution.weight, convolution.bias, arguments["residual"], parts, *settings)
    )


def test_compiles_as_one_graph() -> None:
    x, arguments = drawn(Case(16, 16), (3, 6), torch.float32, batch=1)

    def network(x: Any, weight: Any, bias: Any) -> Any:
        convolution = Convolution(weight, bias, relu=True)
        return conv_block_tensors(x, convolution, residual=x, backend="triton") * 2

    given = x, arguments["convolution"].weight, arguments["convolution"].bias
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    assert (compiled(*given) == network(*given)).all()


def test_without_a_gradient_it_says_so(assert_matches: Matches) -> None:
    x, arguments = drawn(CASES["3x3"], (3, 4), torch.float32, batch=1)
    weight = arguments["convolution"].weight.requires_grad_()
    with pytest.raises(BackendUnavailable, match="no gradient"):
        run(x, arguments)
    conv_block_tensors(x, backend="auto", **arguments).sum().backward()
    assert weight.grad.abs().max() > 0
    with torch.no_grad():
        assert_matches(run(x, arguments), x, arguments)


def test_what_cannot_run_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x, arguments = drawn(Case(16, 80, outputs=1), (3, 4), torch.float32, batch=1)
    with pytest.raises(BackendUnavailable, match="at most 64 channels, got 80"):
        run(x, arguments)
    if DEVICE == "cpu":
        monkeypatch.setattr(registry, "interpreting", lambda: False)
        with pytest.raises(BackendUnavailable, match="CUDA device"):
            run(*drawn(CASES["3x3"], (3, 4), torch.float32))
