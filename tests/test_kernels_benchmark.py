# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the kernels: its gate catches what it is there for, and without a GPU it measures nothing."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.profile import benchmark_frame

torch: Any = pytest.importorskip("torch", reason="the extra torch is not installed")
FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    # Triton's interpreter would take a minute for what the tests of the operations show anyway.
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    return importlib.import_module("kernels")


def test_every_case_agrees_with_its_definition_here(benchmark: ModuleType) -> None:
    told = benchmark.check("cpu")
    agreeing = {line.partition(" torch ")[0] for line in told if line.endswith("agrees")}
    assert agreeing == {case.name for case in benchmark.CASES}


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
