# SPDX-License-Identifier: Apache-2.0
"""OpenVINO: the targets of ONNX Runtime, in the precision that was asked for, and no word to the network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from pitviper import sdk
from pitviper.core.synthetic import random_scene_frame
from pitviper.sdk.engines import openvino, registry

pytestmark = pytest.mark.skipif(
    not openvino.status().usable, reason=f"openvino cannot run here: {openvino.status().reason}"
)


@pytest.fixture(scope="module")
def frames() -> list[NDArray[np.uint16]]:
    return [random_scene_frame(seed, (97, 130))[0] for seed in range(16)]


@pytest.fixture(scope="module", params=["pit-n", "pit-s"])
def reference(request: pytest.FixtureRequest, frames: list[NDArray[np.uint16]]) -> list[sdk.Detections]:
    """What ONNX Runtime finds; the model's name is that of the parameter."""
    with sdk.Detector(request.param, engine="onnxruntime", threads=1) as detector:
        return [detector.detect(frame) for frame in frames]


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.params["reference"])


def has_bf16() -> bool:
    return "BF16" in openvino._capabilities()


def test_fp32_gives_the_target_lists_of_onnx_runtime(
    model: str, frames: list[NDArray[np.uint16]], reference: list[sdk.Detections]
) -> None:
    assert sum(map(len, reference)) > 5, "scenes without targets show nothing"
    with sdk.Detector(model, engine="openvino", threads=1) as detector:
        assert (detector.engine_info.precision, detector.engine_info.threads) == ("fp32", 1)
        for frame, expected in zip(frames, reference, strict=True):
            found = detector.detect(frame)
            # The same float32 products in another order; see test_engines_agree.
            np.testing.assert_allclose(found.score_map, expected.score_map, atol=1e-3, rtol=0)
            np.testing.assert_array_equal(found.xyxy, expected.xyxy)
            np.testing.assert_allclose(found.xy, expected.xy, atol=1e-3, rtol=0)


def test_bf16_runs_when_asked_for_and_keeps_the_targets(
    model: str, frames: list[NDArray[np.uint16]], reference: list[sdk.Detections]
) -> None:
    if not has_bf16():
        with pytest.raises(sdk.EngineUnavailable, match="no bf16 arithmetic"):
            sdk.Detector(model, engine="openvino", precision="bf16")
        return
    with sdk.Detector(model, engine="ov", precision="bf16", threads=1) as detector:
        assert detector.engine_info.precision == "bf16"
        found = [detector.detect(frame) for frame in frames]
    moved = max(
        np.abs(one.score_map - two.score_map).max() for one, two in zip(found, reference, strict=True)
    )
    assert moved > 1e-6, "fp32 ran: bf16 has 8 bits of mantissa and cannot agree to the last bits"
    for one, two in zip(found, reference, strict=True):
        assert len(one) == len(two)
        # A pixel at the threshold may leave a target of a few pixels, which moves its centroid by less than half.
        np.testing.assert_allclose(one.xy, two.xy, atol=0.5, rtol=0)


def test_a_precision_that_would_not_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(openvino._HINTS, "fp32", "bf16")
    if has_bf16():
        with pytest.raises(sdk.EngineUnavailable, match=r"'fp32' was asked.*run in bf16"):
            sdk.Detector("pit-n", engine="openvino")
    with pytest.raises(sdk.EngineUnavailable, match=r"it offers fp32, bf16, int8"):
        sdk.Detector("pit-n", engine="openvino", precision="fp16")
    with pytest.raises(sdk.EngineUnavailable, match=r"holds no network-int8\.onnx"):
        sdk.Detector("pit-n", engine="openvino", precision="int8")
    with pytest.raises(sdk.EngineUnavailable, match="offers cpu"):
        sdk.Detector("pit-n", engine="openvino", device="gpu")


def test_auto_takes_the_first_engine_that_has_the_precision() -> None:
    if not has_bf16():
        pytest.skip("this processor has no bf16 arithmetic")
    with sdk.Detector("pit-n", precision="bf16", warmup=False) as detector:
        info = detector.engine_info
    assert (info.name, info.precision, info.chosen_by) == ("openvino", "bf16", "auto")
    assert info.passed_over[0].startswith("onnxruntime: engine 'onnxruntime' does not run precision 'bf16'")


def test_what_the_plugin_cannot_take_is_an_engine_error(monkeypatch: pytest.MonkeyPatch) -> None:
    package = sdk.open_model("pit-n")
    running, _ = registry.open_engine("openvino", package, threads=1)
    with pytest.raises(sdk.EngineError, match=r"\[1, 2, 64, 64\]"):
        running.run(np.zeros((1, 2, 64, 64), np.float32))
    first = running.run(np.zeros((1, 1, 64, 64), np.float32))
    before = first.copy()
    running.run(np.random.default_rng(0).standard_normal((1, 1, 64, 64)).astype(np.float32))
    np.testing.assert_array_equal(first, before)
    running.close()
    running.close()
    with pytest.raises(sdk.EngineError, match="closed"):
        running.run(np.zeros((1, 1, 64, 64), np.float32))
    monkeypatch.setitem(package._bytes, "network.onnx", b"not a network")
    with pytest.raises(sdk.EngineError, match=r"network\.onnx: OpenVINO refuses"):
        sdk.Detector(package, engine="openvino")


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(openvino.util, "find_spec", lambda name: None)
    status = openvino.status()
    assert not status.usable
    assert "pitviper[openvino]" in status.reason
    with pytest.raises(sdk.EngineUnavailable, match=r"pitviper\[openvino\]"):
        sdk.Detector("pit-n", engine="openvino")


NO_CALL = """
import json, socket, sys
tried = []
def refuse(self, address):
    tried.append(str(address))
    raise OSError("no network in this test")
socket.socket.connect = refuse
from pitviper import sdk
with sdk.Detector("pit-n", engine="openvino", threads=1):
    pass
print(json.dumps({"tried": tried, "telemetry": [m for m in sys.modules if m.startswith("openvino_telemetry")]}))
"""


def test_nothing_is_sent_and_no_identity_is_written(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-c", NO_CALL],
        env={"HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"tried": [], "telemetry": []}
    assert list(tmp_path.iterdir()) == []
