# SPDX-License-Identifier: Apache-2.0
"""Tensors for the operations on tensors, memory that shows what was not written, and their comparison."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pitviper.kernels import registry

ROUNDING = {
    torch.float32: 2.0**-24,
    torch.float16: 2.0**-11,
    # Half a unit in the last place; Triton's interpreter cuts off what a device rounds to the nearest.
    torch.bfloat16: 2.0**-7 if registry.interpreting() else 2.0**-8,
}
SMALLEST = {torch.float32: 2.0**-149, torch.float16: 2.0**-24, torch.bfloat16: 2.0**-133}
LAYOUTS = ("rows", "channels last", "every second", "transposed", "repeated")


@pytest.fixture(scope="session")
def device() -> Iterator[torch.device]:
    """The GPU where there is one, otherwise the CPU, on which Triton interprets its kernels."""
    pytest.importorskip("triton", reason="triton is not installed (the extra 'triton', for Linux)")
    if not registry.interpreting():
        yield torch.device("cuda")
        return
    from triton.runtime import interpreter

    # Without its check of each sum of two integers for overflow, which takes half of the time.
    kept = interpreter.interpreter_builder.options
    interpreter.interpreter_builder.options = replace(kept, sanitize_overflow=False)
    yield torch.device("cpu")
    interpreter.interpreter_builder.options = kept


Draw = Callable[..., Tensor]


@pytest.fixture
def draw(device: torch.device) -> Draw:
    """``draw(*shape, seed=0, dtype=torch.float32, layout="rows")``: normal values, in one of `LAYOUTS`."""

    def values(
        *shape: int, seed: int = 0, dtype: torch.dtype = torch.float32, layout: str = "rows"
    ) -> Tensor:
        plain = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype).to(device)
        if layout == "channels last":
            return plain.contiguous(memory_format=torch.channels_last)
        if layout == "every second":
            wide = torch.full((*shape[:-1], 2 * shape[-1] + 1), torch.nan, dtype=dtype, device=device)
            wide[..., 1::2] = plain
            return wide[..., 1::2]
        if layout == "transposed":
            return plain.transpose(-1, -2).contiguous().transpose(-1, -2)
        return plain[..., :1].expand(shape) if layout == "repeated" else plain

    return values


@pytest.fixture
def poisoned() -> Iterator[None]:
    """New memory holds NaN, so an element that a kernel leaves out is seen."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(before)


Within = Callable[..., None]


@pytest.fixture
def within() -> Within:
    """``within(found, exact, terms, steps=8)``: every element of ``found`` is the exact value, correctly computed.

    It may be off by the rounding to its dtype, and by ``steps`` float32 roundings of ``terms``, the sum of the absolute
    values of what was added up. Exact value and terms are float64.
    """

    def check(found: Tensor, exact: Tensor, terms: Tensor, *, steps: int = 8) -> None:
        assert found.shape == exact.shape
        bound = (
            ROUNDING[found.dtype] * exact.abs()
            + steps * ROUNDING[torch.float32] * terms
            + SMALLEST[found.dtype]
        )
        excess = (found.double() - exact).abs() - bound
        assert not found.isnan().any(), f"{int(found.isnan().sum())} of {found.numel()} elements are NaN"
        if found.numel() and excess.max() > 0:
            worst = int(excess.argmax())
            pytest.fail(
                f"{int((excess > 0).sum())} of {found.numel()} elements are too far off, the worst at {worst}: got "
                f"{found.flatten()[worst].item()!r}, exactly {exact.flatten()[worst].item()!r}, "
                f"allowed {bound.flatten()[worst].item():g}"
            )

    return check


@pytest.fixture
def far_apart(tmp_path_factory: pytest.TempPathFactory, device: torch.device) -> Callable[..., Tensor]:
    """``far_apart(shape, stride)``: float16 zeros whose offsets exceed 2^31 elements, in a file without content."""

    def spread(shape: tuple[int, ...], stride: tuple[int, ...]) -> Tensor:
        size = 1 + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
        if device.type == "cuda":
            return torch.zeros(size, dtype=torch.float16, device=device).as_strided(shape, stride)
        path = tmp_path_factory.mktemp("sparse") / "zeros"
        with path.open("wb") as file:
            file.truncate(2 * size)
        memory = torch.from_file(str(path), shared=True, size=size, dtype=torch.float16)
        path.unlink()
        return memory.as_strided(shape, stride)

    return spread
