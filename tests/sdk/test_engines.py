# SPDX-License-Identifier: Apache-2.0
"""Engines: the same answer from each, honest about what runs, never replaced silently."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.sdk.engines import open_engine, registry

TORCH = next(status for status in sdk.engines() if status.name == "torch").usable
needs_torch = pytest.mark.skipif(not TORCH, reason="the extra torch is not installed")


def frame(shape: tuple[int, int], seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    image = random.normal(7800, 12, shape)
    for side, row in ((1, 4), (2, 10), (9, 17)):
        image[row : row + side, 9 : 9 + side] += 300
    return image.astype(np.uint16)


def test_engines_are_listed_with_a_reason() -> None:
    found = {status.name: status for status in sdk.engines()}
    assert list(found) == ["onnxruntime", "openvino", "torch", "cuda", "torch-fused"]
    assert found["onnxruntime"].usable
    assert all(status.reason for status in found.values())


def test_looking_does_not_import() -> None:
    code = (
        "import sys, json; from pitviper import sdk; sdk.engines(); "
        "print(json.dumps([name for name in ('torch', 'onnxruntime', 'openvino') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"engine": "tensorrt"}, ["not offered", "onnxruntime, openvino, torch, cuda, torch-fused"]),
        ({"engine": "warp"}, ["unknown", "'warp'", "onnxruntime"]),
        ({"engine": "onnxruntime", "device": "cuda"}, ["cuda", "cpu"]),
        ({"engine": "auto", "device": "tpu"}, ["no engine can run", "tpu"]),
        ({"precision": "fp64"}, ["no engine can run", "fp64", "onnxruntime: ", "it offers fp32, int8"]),
        ({"engine": "onnxruntime", "precision": "bf16"}, ["bf16", "it offers fp32, int8"]),
        ({"engine": "onnxruntime", "precision": "int8"}, ["network-int8.onnx", "pitviper export"]),
    ],
)
def test_what_cannot_be_had_is_refused_and_says_what_can(values: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(sdk.EngineUnavailable) as caught:
        sdk.Detector("pit-n", **values)
    for word in words:
        assert word in str(caught.value)


def test_auto_says_what_it_chose_and_what_it_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with sdk.Detector("pit-n", warmup=False) as detector:
        info = detector.engine_info
    assert (info.name, info.device, info.precision, info.chosen_by) == ("onnxruntime", "cpu", "fp32", "auto")
    with sdk.Detector("pit-n", engine="ort", threads=1, warmup=False) as detector:
        assert (detector.engine_info.chosen_by, detector.engine_info.threads) == ("caller", 1)
    json.dumps(info.to_dict())

    for name in ("onnxruntime", "openvino"):
        missing = sdk.EngineStatus(name, False, "taken away by the test")
        offer = registry.ENGINES[name]
        gone = offer._replace(status=lambda missing=missing: missing)
        monkeypatch.setitem(registry.ENGINES, name, gone)
    if TORCH:
        _, info = open_engine("auto", sdk.open_model("pit-n"), device="cpu")
        assert info.name == "torch"
        assert info.passed_over == tuple(
            f"{name}: taken away by the test" for name in ("onnxruntime", "openvino")
        )
    else:
        with pytest.raises(sdk.EngineUnavailable, match="taken away by the test"):
            open_engine("auto", sdk.open_model("pit-n"))


def test_a_network_that_the_runtime_cannot_read(monkeypatch: pytest.MonkeyPatch) -> None:
    package = sdk.open_model("pit-n")
    monkeypatch.setitem(package._bytes, "network.onnx", b"not a network")
    with pytest.raises(sdk.EngineError, match=r"network\.onnx"):
        sdk.Detector(package, engine="onnxruntime")


@needs_torch
@pytest.mark.parametrize("model", ["pit-n", "pit-s", "pit-m"])
def test_engines_agree(model: str) -> None:
    with sdk.Detector(model, engine="onnxruntime") as first, sdk.Detector(model, engine="torch") as second:
        for seed, shape in enumerate([(64, 64), (97, 130)]):
            one, two = first.detect(frame(shape, seed)), second.detect(frame(shape, seed))
            # Both add the same float32 products in another order; a probability moves at most by a quarter of the
            # logit's error, and logits of tens carry an error of about 1e-5 a layer.
            np.testing.assert_allclose(two.score_map, one.score_map, atol=1e-3, rtol=0)


@needs_torch
def test_torch_leaves_the_process_alone() -> None:
    import torch

    before = (torch.get_num_threads(), torch.is_grad_enabled(), torch.backends.mkldnn.enabled)
    with sdk.Detector("pit-n", engine="torch", device="cpu") as detector:
        assert detector.engine_info.device == "cpu"
        found = detector.detect(frame((64, 64)))
    assert (torch.get_num_threads(), torch.is_grad_enabled(), torch.backends.mkldnn.enabled) == before
    assert found.score_map.dtype == np.float32
    with pytest.raises(sdk.InputError, match="set_num_threads"):
        sdk.Detector("pit-n", engine="torch", threads=2)
    with pytest.raises(sdk.EngineUnavailable, match="offers cpu, cuda"):
        sdk.Detector("pit-n", engine="torch", device="tpu")


@needs_torch
def test_a_missing_gpu_is_an_error_and_no_cpu_run() -> None:
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    with pytest.raises(sdk.EngineUnavailable, match=f"sees {count} CUDA"):
        sdk.Detector("pit-n", engine="torch", device=f"cuda:{count}")


@pytest.mark.parametrize("engine", ["onnxruntime", pytest.param("torch", marks=needs_torch)])
def test_a_batch_equals_its_frames_on_every_engine(engine: str) -> None:
    frames = [frame((64, 80), seed) for seed in range(3)] + [frame((40, 40), 9)]
    with sdk.Detector("pit-n", engine=engine) as detector:
        single = [detector.detect(each) for each in frames]
        for one, two in zip(single, detector.detect_batch(frames), strict=True):
            # A runtime may split the work of a batch in another way, which moves the last bits.
            np.testing.assert_allclose(two.score_map, one.score_map, atol=1e-4, rtol=0)


def test_results_are_not_overwritten_by_later_frames() -> None:
    with sdk.Detector("pit-n", engine="onnxruntime") as detector:
        first = detector.detect(frame((64, 64), 1))
        before = first.score_map.copy()
        for seed in range(3):
            detector.detect(frame((64, 64), 2 + seed))
        np.testing.assert_array_equal(first.score_map, before)


@pytest.mark.parametrize("engine", ["onnxruntime", pytest.param("torch", marks=needs_torch)])
def test_a_closed_engine_says_so(engine: str) -> None:
    running, _ = open_engine(engine, sdk.open_model("pit-n"))
    running.close()
    running.close()
    with pytest.raises(sdk.EngineError, match="closed"):
        running.run(np.zeros((1, 1, 64, 64), np.float32))


def test_frames_that_the_network_cannot_take_are_an_engine_error() -> None:
    running, _ = open_engine("onnxruntime", sdk.open_model("pit-n"))
    with pytest.raises(sdk.EngineError, match=r"\[1, 2, 64, 64\]"):
        running.run(np.zeros((1, 2, 64, 64), np.float32))


def resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(
    not os.path.exists("/proc/self/statm"), reason="reads the memory of the process from /proc"
)
def test_sizes_that_come_and_go_do_not_add_up() -> None:
    random = np.random.default_rng(0)
    with sdk.Detector("pit-n", engine="onnxruntime", threads=1) as detector:
        detector.detect(frame((256, 256)))
        levels = []
        for step in range(240):
            detector.detect(frame((32 + int(random.integers(200)), 32 + int(random.integers(200)))))
            if step in (119, 239):
                levels.append(resident_bytes())
    # One forgotten map of a middling size is 70 kB, and 120 of them 8 MB.
    assert levels[1] - levels[0] < 6 * 2**20


@pytest.mark.parametrize("engine", ["onnxruntime", pytest.param("torch", marks=needs_torch)])
def test_many_threads_get_what_one_gets(engine: str) -> None:
    frames = [frame(((64, 80), (48, 48))[seed % 2], seed) for seed in range(12)]
    with sdk.Detector("pit-n", engine=engine) as detector:
        serial = [detector.detect(each) for each in frames]
        with ThreadPoolExecutor(4) as pool:
            parallel = list(pool.map(detector.detect, frames * 3))
    for one, two in zip(serial * 3, parallel, strict=True):
        np.testing.assert_allclose(two.score_map, one.score_map, atol=1e-6, rtol=0)
