# SPDX-License-Identifier: Apache-2.0
"""The engine of the project's own runtime: the targets of ONNX Runtime on the CPU, and honest about a missing GPU."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from pitviper import sdk
from pitviper.core.plan import build_plan
from pitviper.core.synthetic import random_scene_frame
from pitviper.kernels import native
from pitviper.kernels.runtime import FusedRuntime, RuntimeFailure
from pitviper.sdk.engines import cuda

NO_GPU = native.load().cuda_missing_reason()


@pytest.fixture(scope="module")
def scenes() -> list[Any]:
    whole = [random_scene_frame(seed=seed, size=128)[0] for seed in (1, 2, 3)]
    return [whole[0], whole[1][:97, :75], whole[2]]


@pytest.mark.parametrize(
    ("model", "device", "count"),
    [("pit-n", "cpu", 3), ("pit-s", "cpu", 3), ("pit-n", "host", 2), ("pit-s", "host", 1)],
)
def test_it_finds_what_onnxruntime_finds(scenes: list[Any], model: str, device: str, count: int) -> None:
    with sdk.Detector(model, engine="onnxruntime", threads=1) as reference:
        expected = [reference.detect(frame) for frame in scenes[:count]]
    assert sum(map(len, expected)) >= count
    with sdk.Detector(model, engine="cuda", device=device, warmup=False) as detector:
        assert (detector.engine_info.name, detector.engine_info.precision) == ("cuda", "fp32")
        for frame, other in zip(scenes, expected, strict=False):
            agree(detector.detect(frame), other)
    with FusedRuntime(build_plan(sdk.open_model(model)).to_bytes(), device=device) as runtime:
        for frame, other in zip(scenes, expected, strict=False):
            runtime.submit(np.asarray(frame))
            result = runtime.poll()
            assert result is not None
            agree(sdk.Detections.from_targets(result.targets, other.shape), other)


def agree(found: sdk.Detections, other: sdk.Detections) -> None:
    """The same boxes; what is weighted by probability moves with its float32 rounding (see the tests of plans)."""
    np.testing.assert_array_equal(found.xyxy, other.xyxy)
    np.testing.assert_array_equal(found.area_px, other.area_px)
    np.testing.assert_allclose(found.xy, other.xy, atol=1e-3, rtol=0)
    np.testing.assert_allclose(found.score, other.score, atol=1e-4, rtol=0)
    np.testing.assert_allclose(found.snr, other.snr, atol=1e-4, rtol=1e-4)


def test_half_precision_stays_within_its_rounding() -> None:
    frame = random_scene_frame(seed=5, size=64)[0]
    with sdk.Detector("pit-n", engine="onnxruntime", threads=1) as reference:
        expected = reference.detect(frame)
    with sdk.Detector("pit-n", engine="cuda", device="host", precision="fp16", warmup=False) as detector:
        assert detector.engine_info.precision == "fp16"
        found = detector.detect(frame)
    # A half holds 11 bits: 5e-4 of each of some ten layers' values, on logits of up to ten and a slope of a quarter.
    np.testing.assert_allclose(found.score_map, expected.score_map, atol=0.02, rtol=0)


@pytest.mark.skipif(not NO_GPU, reason="this machine has a CUDA device")
def test_without_a_gpu_the_reason_is_told() -> None:
    status = next(status for status in sdk.engines() if status.name == "cuda")
    assert not status.usable
    assert "device='cpu'" in status.reason
    assert all(name in status.reason for name in native.load().cuda_archs()), "what the module holds code for"
    for device in ("auto", "cuda", "cuda:0"):
        with pytest.raises(sdk.EngineUnavailable, match=r"cuda:0 cannot be had: .+; .*device='cpu'"):
            sdk.Detector("pit-n", engine="cuda", device=device)


class Failing:
    """A runtime that fails as on a GPU: when it is opened, or at the first frame of a shape."""

    def __init__(
        self, plan: bytes, *, device: str, half: bool | None, opening: tuple[str, str] | None
    ) -> None:
        if opening:
            raise RuntimeFailure(*opening)
        self._runtime = FusedRuntime(plan, device="cpu")
        self.info, self.close = self._runtime.info, self._runtime.close

    def network(self, frames: Any, *, log_odds: bool) -> Any:
        if frames.shape[3] > 64:
            raise RuntimeFailure("PV_MEMORY", "no memory of the GPU can be had: out of memory")
        return self._runtime.network(frames, log_odds=log_odds)


@pytest.mark.parametrize(
    ("opening", "error", "words"),
    [
        (
            ("PV_DEVICE", "no code for Orin (sm_72) (the library holds code for sm_87, sm_90)"),
            sdk.DeviceUnavailable,
            r"no code for Orin \(sm_72\) .*sm_87, sm_90.*device='cpu'",
        ),
        (("PV_MEMORY", "no memory of the GPU can be had: out of memory"), sdk.EngineError, "out of memory"),
    ],
)
def test_a_gpu_that_cannot_take_the_network_is_told(
    monkeypatch: pytest.MonkeyPatch, opening: tuple[str, str], error: type[Exception], words: str
) -> None:
    monkeypatch.setattr(cuda, "FusedRuntime", partial(Failing, opening=opening))
    with pytest.raises(error, match=words):
        sdk.Detector("pit-n", engine="cuda")


def test_the_device_is_one_that_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime tells the GPU's name behind it; `replay` opens the recorded device again."""

    class Named(Failing):
        def __init__(self, plan: bytes, **values: Any) -> None:
            super().__init__(plan, opening=None, **values)
            self.info = {**self.info, "device": "cuda:0 NVIDIA Orin"}

    monkeypatch.setattr(cuda, "FusedRuntime", Named)
    with sdk.Detector("pit-n", engine="cuda", warmup=False) as detector:
        assert detector.engine_info.device == "cuda:0"


def test_memory_that_runs_out_ends_a_frame_and_not_the_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "FusedRuntime", partial(Failing, opening=None))
    small, large = (random_scene_frame(seed=1, size=size)[0] for size in (64, 128))
    with sdk.Detector("pit-n", engine="cuda", device="cpu", warmup=False) as detector:
        before = detector.detect(small)
        with pytest.raises(sdk.EngineError, match=r"frames \[1, 1, 128, 128\]: .*out of memory"):
            detector.detect(large)
        np.testing.assert_array_equal(detector.detect(small).score_map, before.score_map)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"device": "tpu"}, "'tpu'"),
        ({"device": "cpu", "precision": "fp16"}, "fp32"),
        ({"device": "cpu", "precision": "int8"}, "int8"),
        ({"device": "cpu", "threads": 4}, "threads=4"),
    ],
)
def test_what_it_cannot_do_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(sdk.EngineUnavailable, match=words):
        sdk.Detector("pit-n", engine="cuda", **values)


def test_a_closed_engine_is_refused() -> None:
    detector = sdk.Detector("pit-n", engine="cuda", device="cpu")
    detector.close()
    with pytest.raises(sdk.EngineError):
        detector.detect(np.zeros((64, 64), np.uint16))
