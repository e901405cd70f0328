# SPDX-License-Identifier: Apache-2.0
"""Export: the file is the detector, and a file that is not is never written."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from pitviper import sdk


@pytest.fixture(scope="module")
def detector() -> sdk.Detector:
    return sdk.Detector("pit-n", engine="onnxruntime", threads=1)


def test_the_file_alone_gives_the_detectors_map(detector: sdk.Detector, tmp_path: Path) -> None:
    report = detector.export(tmp_path / "out.onnx")
    assert hashlib.sha256((tmp_path / "out.onnx").read_bytes()).hexdigest() == report.sha256
    assert report.bytes == (tmp_path / "out.onnx").stat().st_size
    assert report.max_abs_difference < 1e-3
    json.dumps(report.to_dict())
    assert [path.name for path in tmp_path.iterdir()] == ["out.onnx"]

    session = onnxruntime.InferenceSession(tmp_path / "out.onnx", providers=["CPUExecutionProvider"])
    frame = np.random.default_rng(5).normal(7800, 12, (50, 77)).astype(np.uint16)
    (found,) = session.run(None, {session.get_inputs()[0].name: frame.astype(np.float32)[None, None]})
    # Frame statistics are float32 in the graph and float64 here.
    np.testing.assert_allclose(found[0, 0], detector.detect(frame).score_map, atol=1e-3, rtol=0)


def test_another_network_in_the_file_is_caught_and_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = sdk.open_model("pit-n")
    monkeypatch.setitem(package._bytes, "model.onnx", sdk.open_model("pit-s").read("model.onnx"))
    (tmp_path / "out.onnx").write_text("what was there before")
    with sdk.Detector(package, threads=1) as detector, pytest.raises(sdk.AccuracyGate, match="differs"):
        detector.export(tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").read_text() == "what was there before"


def test_what_cannot_be_written_is_said(detector: sdk.Detector, tmp_path: Path) -> None:
    with pytest.raises(sdk.SinkError, match="nowhere"):
        detector.export(tmp_path / "nowhere" / "out.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(sdk.SinkError, match="cannot be written"):
        detector.export(tmp_path / "folder.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.onnx"]


def test_a_recording_or_a_file_of_the_package_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"precious")
    shutil.copytree(sdk.open_model("pit-n").path, tmp_path / "mine")
    with sdk.Detector(tmp_path / "mine", threads=1) as detector:
        with pytest.raises(sdk.InputError, match=r"suffix \.onnx"):
            detector.export(tmp_path / "clip.mp4")
        with pytest.raises(sdk.InputError, match="package"):
            detector.export(tmp_path / "mine" / "network.onnx")
    assert (tmp_path / "clip.mp4").read_bytes() == b"precious"
    sdk.open_model(tmp_path / "mine")


def test_another_format_is_refused(detector: sdk.Detector, tmp_path: Path) -> None:
    with pytest.raises(sdk.InputError, match=r"'engine'.*onnx"):
        detector.export(tmp_path / "out.engine", format="engine")


def test_a_plan_is_what_the_fused_runtime_opens(detector: sdk.Detector, tmp_path: Path) -> None:
    report = detector.export(
        tmp_path / "out.plan", format="plan", verify=[np.full((48, 64), 7800, np.uint16)]
    )
    assert report.max_abs_difference < 1e-3
    assert [each.engine for each in report.comparisons] == ["plan on the CPU"]
    assert (tmp_path / "out.plan").read_bytes().startswith(b"PVPLAN")
    with pytest.raises(sdk.InputError, match=r"suffix \.plan"):
        detector.export(tmp_path / "out.onnx", format="plan")
    with pytest.raises(sdk.InputError, match="fp32 or fp16"):
        detector.export(tmp_path / "out.plan", format="plan", precision="int8")
