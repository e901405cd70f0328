# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the kernels: its gate catches what it is there for, and without a GPU it measures nothing."""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.kernels.registry import PREFERENCE
from pitviper.sdk.profile import benchmark_frame
from pitviper.sdk.profiling.rates import Rates

torch: Any = pytest.importorskip("torch", reason="the extra torch is not installed")
FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    # Triton's interpreter would take a minute for what the tests of the operations show anyway.
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    return importlib.import_module("kernels")


def test_every_case_agrees_with_its_definition_here(benchmark: ModuleType) -> None:
    told = benchmark.check("cpu")
    agreeing = {re.split(" (?:torch|host) torch", line)[0] for line in told if line.endswith("agrees")}
    assert agreeing == {case.name for case in benchmark.CASES}
    bodies = [line for line in told if " host torch" in line and line.startswith(("affine_modulate", "samf"))]
    assert len(bodies) == 2 * 4, "the bodies of both operations' CUDA kernels, in fp16 and fp32"
    operations = {case.operation.removesuffix("_tensors") for case in benchmark.CASES}
    assert operations == {name.removesuffix("_tensors") for name in PREFERENCE}, "every operation is measured"


def test_only_backends_of_the_device_are_measured(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = "triton", "cuda", "torch", "host"
    everything = tuple(SimpleNamespace(name=name, available=True) for name in names)
    monkeypatch.setattr(benchmark.registry, "available_backends", lambda operation: everything)
    case = benchmark.CASES[0]
    assert benchmark._backends(case, "cuda") == ["triton", "cuda", "torch"]
    assert benchmark._backends(case, "cpu") == ["torch", "host"]


def test_a_lost_pixel_and_a_nan_fail_the_gate(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    case = benchmark.CASES[0]
    for broken in (0.0, float("nan")):

        def one_pixel(tensors: Any, backend: str, value: float = broken) -> Any:
            (found,) = case.ours(tensors, backend)
            found = found.clone()
            row, column = divmod(int(found[0, 3].argmax()), found.shape[3])
            found[0, 3, row, column] = value
            return (found,)

        monkeypatch.setattr(benchmark, "CASES", (replace(case, ours=one_pixel),))
        with pytest.raises(SystemExit, match=r"affine_modulate.*is off by"):
            benchmark.check("cpu")


def test_a_lost_target_and_a_wrong_block_fail_the_gate(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    extraction = next(case for case in benchmark.CASES if case.operation == "extract_targets")

    def one_less(found: Any) -> Any:
        first, *others = extraction.decode(found)
        return (first[1:], *others)

    block = next(case for case in benchmark.CASES if case.operation == "residual_block")

    def no_shortcut(tensors: Any, backend: str) -> Any:
        return (block.ours(tensors, backend)[0] - tensors["x"].clamp(min=0),)

    for broken in (replace(extraction, decode=one_less), replace(block, ours=no_shortcut)):
        monkeypatch.setattr(benchmark, "CASES", (broken,))
        with pytest.raises(SystemExit, match=r"on host in torch\.float16 is off by"):
            benchmark.check("cpu")


def test_a_row_has_every_way_its_spread_and_the_reason_for_those_that_are_missing(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU, with the host body in the place of the GPU's kernel and few rounds; the times say nothing."""
    compiled: list[dict[str, Any]] = []

    def compile(call: Any, **options: Any) -> Any:
        compiled.append(options)
        return call

    monkeypatch.setattr(torch, "compile", compile)
    for name, value in (("WARM_UP", 1), ("ROUNDS", 3), ("FLUSH_BYTES", 64)):
        monkeypatch.setattr(benchmark, name, value)
    monkeypatch.setitem(sys.modules, "torch_tensorrt", SimpleNamespace())
    present = {"torch_tensorrt": SimpleNamespace()}
    monkeypatch.setattr(benchmark.util, "find_spec", present.get)
    rates = Rates(100.0, 1e9, "given by the test")
    cases = {case.operation: case for case in benchmark.COMPILED_CASES}
    row = benchmark.measured(cases["residual_block"], 1, rates, device="cpu", size=(8, 8))
    assert set(row["ms"]) == {"host", "torch_eager", "torch_compile", "tensorrt"}
    assert [set(options) for options in compiled] == [{"mode", "dynamic"}, {"backend", "dynamic"}]
    assert row["floor_ms"] == pytest.approx(row["bytes"] / 100e6)
    assert row["share_of_floor"]["host"] == pytest.approx(
        row["floor_ms"] / row["ms"]["host"]["median"], rel=0.1
    )
    assert set(row["ms"]["host"]) == {"median", "p90", "p99", "max"}

    present.clear()
    row = benchmark.measured(cases["standardise"], 2, rates, device="cpu", size=(24, 40))
    assert row["not_measured"] == {"tensorrt": "torch_tensorrt is not installed"}
    row = benchmark.measured(cases["extract_targets"], 2, rates, device="cpu", size=(24, 40))
    assert set(row["ms"]) == {"host", "torch_eager"}
    assert "on the host" in row["not_measured"]["torch_compile"]


def test_without_a_gpu_it_says_why_and_writes_nothing(
    benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["kernels.py"])
    monkeypatch.setattr(benchmark, "write_result", lambda *_: pytest.fail("a result was written"))
    with pytest.raises(SystemExit, match=r"sees no CUDA device.*nothing was measured"):
        benchmark.main()


def test_what_torch_is_given_to_run_computes_what_the_detector_does(benchmark: ModuleType) -> None:
    whole_frame = importlib.import_module("whole_frame")
    package = sdk.open_model("pit-n")
    frame = benchmark_frame((70, 93))
    frame[40, 50] = 60000  # above the range of int16, in which the frame travels
    with sdk.Detector(package, engine="onnxruntime", threads=1) as detector:
        expected = detector.detect(frame).score_map
        found = whole_frame.compiled_frame(package, "cpu", detector.threshold, compiling=False)(frame)
    # Statistics in float32 here and float64 there; see the tolerance of exports.
    np.testing.assert_allclose(found, expected, atol=1e-3, rtol=0)
    if "TensorrtExecutionProvider" not in importlib.import_module("onnxruntime").get_available_providers():
        with pytest.raises(sdk.EngineError, match="no TensorrtExecutionProvider"):
            whole_frame.tensorrt_frame(package, 0.5)
