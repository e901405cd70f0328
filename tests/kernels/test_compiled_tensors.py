# SPDX-License-Identifier: Apache-2.0
"""`affine_modulate` and `samf_fuse` by their compiled kernels: what these refuse, and where their launches go.

Without a GPU the bodies run as the backend ``host``; on the way to a GPU everything up to the compiled module is run,
with fake tensors or a fake module. The bodies themselves are in `test_affine_samf_cuda_body`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from pitviper.kernels import (
    BackendUnavailable,
    NativeUnavailable,
    affine_modulate,
    compiled,
    native,
    planes,
    registry,
    samf_join,
    samf_split,
)
from pitviper.kernels.affine_modulate.reference import affine_modulate_reference
from pitviper.kernels.samf_fuse.reference import samf_join_reference, samf_split_reference


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    made = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)
    return made.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else made


@pytest.mark.parametrize("dtype", list(compiled.DTYPES))
@pytest.mark.parametrize("shape", [(1, 16, 1, 1), (2, 48, 7, 13), (0, 16, 4, 5)], ids=str)
def test_the_bodies_give_the_definition(shape: tuple[int, int, int, int], dtype: torch.dtype) -> None:
    batch, channels, *size = shape
    features, residual = draw(*shape, dtype=dtype), draw(*shape, seed=1, dtype=dtype)
    gamma, beta = (draw(batch, channels, seed=seed, dtype=dtype) for seed in (2, 3))
    options: dict[str, Any] = {"strength": 0.55, "relu": True, "residual": residual}
    found = affine_modulate(features, gamma, beta, **options, backend="host")
    expected = affine_modulate_reference(features, gamma, beta, **options)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    # torch calls a map without a pixel contiguous in rows only.
    assert found.is_contiguous(memory_format=torch.channels_last) or not batch
    # A prior of the right size has no weights to round.
    scale, shift = (draw(batch, channels // 2, *size, seed=seed, dtype=dtype) for seed in (4, 5))
    halves = samf_split(features, scale, shift, backend="host")
    for one, other in zip(halves, samf_split_reference(features, scale, shift), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    joined = samf_join(*halves, features, backend="host")
    torch.testing.assert_close(joined, samf_join_reference(*halves, features), rtol=0, atol=0)


def test_the_prior_is_resized_inside() -> None:
    features, prior = draw(1, 32, 9, 11), draw(1, 16, 4, 3, seed=1)
    found = samf_split(features, prior, prior, backend="host")
    for one, other in zip(found, samf_split_reference(features, prior, prior), strict=True):
        # Four weights and as many products in float32, of values of a few units.
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


WRONG: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "a gradient": (lambda x: x.requires_grad_(), "have no gradient; call it under torch.no_grad"),
    "in rows": (lambda x: x.contiguous(), r"features has the strides \[.*contiguous\(memory_format="),
    "every second": (lambda x: x[..., ::2], "has the strides"),
    "float64": (lambda x: x.double(), "features is (torch.)?float64, and the kernels"),
    "channels": (lambda x: x[:, :12], "multiple of (8|16), got 12"),
}


@pytest.mark.parametrize("backend", ["cuda", "host"])
@pytest.mark.parametrize("change", WRONG)
def test_what_the_kernels_cannot_read_is_refused_with_the_fix(backend: Any, change: str) -> None:
    make, words = WRONG[change]
    features = make(draw(1, 16, 4, 6))
    shape = features.shape
    parameters = [draw(shape[0], shape[1], seed=seed) for seed in (1, 2)]
    with pytest.raises(BackendUnavailable, match=words):
        affine_modulate(features, *parameters, backend=backend)
    half = draw(shape[0], shape[1] // 2, 4, 6)
    with pytest.raises(BackendUnavailable, match=words):
        samf_split(features, half, half, backend=backend)


def test_parameters_are_refused_too() -> None:
    features, gamma = draw(2, 16, 4, 6).half(), draw(2, 16).half()
    for wrong, words in (
        (gamma.float(), r"gamma is torch.float32 and features torch.float16.*gamma.to\(features.dtype\)"),
        (draw(16, 2).half().t(), r"gamma has the strides \[1, 2\]; make it dense"),
        (draw(2, 16, 4, 6).half().contiguous(), "gamma has the strides"),
    ):
        with pytest.raises(BackendUnavailable, match=words):
            affine_modulate(features, wrong, torch.zeros_like(wrong), backend="host")


def test_memory_that_no_kernel_can_read_in_pieces_of_16_bytes_is_refused() -> None:
    gamma, memory = draw(1, 16), torch.zeros(16 * 24 + 1)
    features = memory[1:].view(1, 4, 6, 16).movedim(3, 1)
    with pytest.raises(
        ValueError, match=r"features begins at no multiple of 16 bytes; copy it with features.clone"
    ):
        affine_modulate(features, gamma, gamma, backend="host")
    assert torch.equal(
        affine_modulate(features.clone(), gamma, gamma, backend="host"), features + gamma[0, :, None, None]
    )


def test_tensors_on_the_host_are_not_sent_to_a_gpu() -> None:
    features, gamma = draw(1, 16, 4, 6), draw(1, 16)
    with pytest.raises(
        BackendUnavailable, match="'cuda' cannot run: the tensors are on cpu; move them to the GPU"
    ):
        affine_modulate(features, gamma, gamma, backend="cuda")
    with pytest.raises(BackendUnavailable, match="'cuda' cannot run: the tensors are on cpu"):
        samf_split(features, *(draw(1, 8, 2, 3) for _ in range(2)), backend="cuda")


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Tensors made inside are on a GPU, and hold nothing; reasons by backend in place of what this machine has."""
    reasons: dict[str, str] = {}
    fake = {name: lambda name=name: reasons.get(name, "") for name in registry._PROBES}
    monkeypatch.setattr(registry, "_PROBES", MappingProxyType(fake))
    registry._automatic.cache_clear()
    with FakeTensorMode():
        yield reasons
    registry._automatic.cache_clear()


def gpu(*shape: int) -> Tensor:
    made = torch.empty(shape, device="cuda", dtype=torch.float16)
    return made.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else made


def test_auto_takes_the_compiled_kernels_where_triton_is_missing_and_says_so(
    on_gpu: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    on_gpu["triton"] = "triton is not installed"
    features, half, gamma = gpu(1, 16, 4, 6), gpu(1, 8, 4, 6), gpu(1, 16)
    with caplog.at_level(logging.INFO, logger="pitviper.kernels"):
        out = affine_modulate(features, gamma, gamma)
        joined = samf_join(*samf_split(features, half, half), features)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert (out.device.type, joined.device.type) == ("cuda", "cuda")
    told = [record.getMessage() for record in caplog.records]
    assert "affine_modulate runs on the backend 'cuda'" in told
    assert "samf_fuse runs on the backend 'cuda'" in told
    assert all("triton is not installed" in line for line in told if "preferred" in line)


def test_auto_trains_by_the_definition_where_triton_is_missing(
    on_gpu: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    on_gpu["triton"] = "triton is not installed"
    features, gamma = gpu(1, 16, 4, 6).requires_grad_(), gpu(1, 16)
    with caplog.at_level(logging.INFO, logger="pitviper.kernels"):
        assert affine_modulate(features, gamma, gamma).requires_grad
    assert "affine_modulate runs on the backend 'torch'" in caplog.text


def test_a_gpu_without_code_in_the_module_is_named(on_gpu: dict[str, str]) -> None:
    on_gpu["cuda"] = "no code for Orin (sm_72) (the module holds code for sm_87, sm_90)"
    features, gamma = gpu(1, 16, 4, 6), gpu(1, 16)
    with pytest.raises(NativeUnavailable, match=r"'cuda' cannot run: no code for Orin .*sm_87, sm_90"):
        affine_modulate(features, gamma, gamma, backend="cuda")
    with pytest.raises(BackendUnavailable, match="'host' cannot run: the tensors are on cuda"):
        affine_modulate(features, gamma, gamma, backend="host")


def test_a_launch_goes_to_the_callers_stream_of_the_tensors_device(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    @contextlib.contextmanager
    def device(index: Any) -> Iterator[None]:
        told.append(f"on {index}")
        yield
        told.append("back")

    streams = SimpleNamespace(
        device=device, current_stream=lambda index: SimpleNamespace(cuda_stream=f"stream of {index}")
    )
    monkeypatch.setattr(torch, "cuda", streams)
    module = SimpleNamespace(samf_join_phases=lambda fields, stream: told.append((fields, stream)))
    monkeypatch.setattr(native, "load", lambda: module)
    beside: Any = SimpleNamespace(is_cuda=True, device="cuda:1", dtype=torch.bfloat16)
    given = draw(1, 8, 2, 2)
    compiled.launch("samf_join_phases", {"first": given, "residual": None, "shape": (1, 2, 2, 8)}, beside)
    fields = {"first": given.data_ptr(), "residual": 0, "shape": (1, 2, 2, 8), "dtype": 2}
    assert told == ["on cuda:1", (fields, "stream of cuda:1"), "back"]


@pytest.mark.skipif(not native.cuda_missing_reason(), reason="this machine has a CUDA device")
@pytest.mark.parametrize("name", ["affine_modulate_phases", "samf_split_phases", "samf_join_phases"])
def test_the_compiled_module_refuses_a_stream_in_words(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address of a stream reaches CUDA, which has no device here; wrong arguments are named before that."""
    features, half, gamma = draw(1, 16, 4, 6), draw(1, 8, 4, 6), draw(1, 16)
    calls: list[tuple[str, dict[str, Any]]] = []
    compiled_module = native.load()
    recorder = SimpleNamespace(
        **{
            each: lambda fields, stream, each=each: calls.append((each, fields))
            for each in ("affine_modulate_phases", "samf_split_phases", "samf_join_phases")
        }
    )
    monkeypatch.setattr(native, "load", lambda: recorder)
    monkeypatch.setattr(native, "missing_reason", lambda: "")
    kept = [
        affine_modulate(features, gamma, gamma, backend="host"),
        *samf_split(features, half, half, backend="host"),
        samf_join(half, half, features, backend="host"),
    ]
    fields = dict(calls)[name]
    with pytest.raises(RuntimeError, match=r"(?i)cuda|nvcc"):
        getattr(compiled_module, name)(fields, stream=0)
    if compiled_module.cuda_archs():
        with pytest.raises(ValueError, match="height and width"):
            getattr(compiled_module, name)(fields | {"shape": (1, 0, 4, 16)}, stream=0)
    getattr(compiled_module, name)(fields)
    index = {"affine_modulate_phases": 0, "samf_split_phases": 1, "samf_join_phases": 3}[name]
    assert torch.isfinite(kept[index]).all()


def test_the_operators_are_traced_as_one_graph() -> None:
    from pitviper.kernels.affine_modulate.compiled_op import modulate
    from pitviper.kernels.samf_fuse.compiled_op import join, split

    features, half, gamma = draw(2, 16, 4, 6), draw(2, 8, 4, 6, seed=1), draw(2, 16, seed=2)
    torch.library.opcheck(modulate, (features, gamma, gamma, None, 0.5, True))
    torch.library.opcheck(split, (features, half, half))
    torch.library.opcheck(join, (half, half, features))

    def step(features: Tensor, half: Tensor, gamma: Tensor) -> Tensor:
        joined = samf_join(*samf_split(features, half, half, backend="host"), features, backend="host")
        return affine_modulate(joined, gamma, gamma, relu=True, backend="host")

    traced = torch.compile(step, fullgraph=True, backend="aot_eager")
    assert torch.equal(traced(features, half, gamma), step(features, half, gamma))


def test_memory_of_the_result_is_that_of_the_map() -> None:
    """The kernels count in dense pixels of channels; a new map of one pixel has to lie so as well."""
    for shape in ((3, 16, 1, 1), (1, 8, 5, 1), (2, 8, 3, 4)):
        made = planes.like(draw(*shape))
        assert made.permute(0, 2, 3, 1).is_contiguous()
