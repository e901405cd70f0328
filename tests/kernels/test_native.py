# SPDX-License-Identifier: Apache-2.0
"""The compiled module is found, and where it is missing the reason is told and nothing pretends."""

from __future__ import annotations

import ast
import logging
import re
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pitviper.kernels import NativeUnavailable, available_backends, native, registry, standardise


@pytest.fixture
def forgetful() -> Iterator[None]:
    """Forget what was loaded, before and after."""

    def forget() -> None:
        native._attempt.cache_clear()
        registry._automatic.cache_clear()

    forget()
    yield
    forget()


def test_available_backends() -> None:
    host, numpy, cuda = available_backends()
    assert (host.name, host.reason, numpy.name, numpy.reason) == ("host", "", "numpy", "")
    assert (cuda.name, cuda.reason) == ("cuda", native.cuda_missing_reason())


def test_missing_module_is_explained(
    forgetful: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "pitviper.kernels._native", None)
    host = available_backends()[0]
    assert not host.available
    assert "_native cannot be loaded" in host.reason
    assert "pip install" in host.reason
    frame = np.arange(30, dtype=np.uint8).reshape(5, 6)
    with pytest.raises(NativeUnavailable, match="backend 'host' cannot run: the compiled module"):
        standardise(frame, backend="host")
    with caplog.at_level(logging.WARNING, logger="pitviper.kernels"):
        first = standardise(frame)
        standardise(frame)
    assert np.array_equal(first, standardise(frame, backend="numpy"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "on the backend 'numpy', not on a preferred one" in caplog.text


def test_old_module_is_refused(forgetful: None, monkeypatch: pytest.MonkeyPatch) -> None:
    old = types.ModuleType("pitviper.kernels._native")
    monkeypatch.setitem(sys.modules, "pitviper.kernels._native", old)
    assert "older than the Python sources" in native.missing_reason()
    assert "extract_targets" in native.missing_reason()
    with pytest.raises(NativeUnavailable, match="older"):
        native.load()


def test_stub_describes_the_compiled_module() -> None:
    """Names and arguments of ``_native.pyi`` are those that the compiled functions state themselves."""
    stub = ast.parse((Path(native.__file__).parent / "_native.pyi").read_text())
    written = {
        node.name: [arg.arg for arg in node.args.args]
        for node in stub.body
        if isinstance(node, ast.FunctionDef)
    }
    classes = {node.name for node in stub.body if isinstance(node, ast.ClassDef)}
    module = native.load()
    compiled = {name: re.findall(r"(\w+): ", getattr(module, name).__doc__) for name in native.REQUIRED}
    assert written == compiled
    assert {*native.REQUIRED, *classes} == {name for name in vars(module) if not name.startswith("_")}


def test_unknown_backend_lists_the_known() -> None:
    with pytest.raises(ValueError, match="unknown backend 'tpu'; there are 'auto', 'host', 'numpy', 'cuda'"):
        registry.resolve("tpu")


@pytest.mark.parametrize(
    ("found", "archs", "expected"),
    [
        ("", ["sm_87"], ""),
        (
            "no CUDA-capable device",
            ["sm_87", "compute_90"],
            "no CUDA-capable device .*code for sm_87, compute_90",
        ),
        ("the module was built without nvcc", [], "built without nvcc"),
    ],
)
def test_cuda_says_why_it_cannot_run(
    forgetful: None, monkeypatch: pytest.MonkeyPatch, found: str, archs: list[str], expected: str
) -> None:
    monkeypatch.setattr(native.load(), "cuda_missing_reason", lambda: found)
    monkeypatch.setattr(native.load(), "cuda_archs", lambda: archs)
    if found:
        with pytest.raises(NativeUnavailable, match=f"backend 'cuda' cannot run: .*{expected}"):
            standardise(np.zeros((4, 4), np.uint8), backend="cuda")
    else:
        assert registry.resolve("cuda") == "cuda"


def test_unknown_sample_type_is_an_error() -> None:
    frame = np.zeros((4, 4))
    out = np.zeros((4, 4), np.float32)
    with pytest.raises(ValueError, match="sample type"):
        native.load().standardise(frame.ctypes.data, "d", (4, 4), 32, out.ctypes.data, (4, 4), (2.0, 0.1, 5))


def test_other_threads_run_meanwhile() -> None:
    """With a switch interval that never ends, the waiter can run only where the compiled code gives way."""
    frame = np.random.default_rng(0).integers(0, 255, (2048, 2048), np.uint8)
    out = np.empty(frame.shape, np.float32)
    where = (frame.ctypes.data, "B", frame.shape, frame.strides[0], out.ctypes.data, out.shape, (2.0, 0.1, 5))
    compiled = native.load().standardise
    interval = sys.getswitchinterval()
    ran = False
    for _ in range(50):
        gate, flags = threading.Semaphore(0), []

        def wait(gate: threading.Semaphore = gate, flags: list[bool] = flags) -> None:
            gate.acquire()
            flags.append(True)

        waiter = threading.Thread(target=wait)
        waiter.start()
        sys.setswitchinterval(1000.0)
        try:
            gate.release()
            compiled(*where)
            ran = bool(flags)
        finally:
            sys.setswitchinterval(interval)
            waiter.join()
        if ran:
            break
    assert ran
