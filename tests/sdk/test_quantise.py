# SPDX-License-Identifier: Apache-2.0
"""int8: a package that engines run in 8 bits, and a gate that keeps one that misses targets from being written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pitviper import sdk
from pitviper.core.datasets import open_dataset
from pitviper.sdk.engines import openvino
from pitviper.sdk.engines.sigmoid import log_odds_missing, with_log_odds
from pitviper.sdk.quantise import calibration_inputs, quantise

onnx: Any = pytest.importorskip("onnx", reason="the extra export is not installed")
ENGINES = ("onnxruntime", "openvino") if openvino.status().usable else ("onnxruntime",)


def scene(seed: int, contrast: int) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Three targets of 2, 3 and 5 pixels' side in noise of 12 counts, and where they are."""
    frame = np.random.default_rng(seed).normal(7800, 12, (64, 96))
    mask = np.zeros(frame.shape, np.bool_)
    for side, row in ((2, 8), (3, 24), (5, 44)):
        place = slice(row, row + side), slice(20 + 9 * seed % 60, 20 + 9 * seed % 60 + side)
        frame[place] += contrast
        mask[place] = True
    return frame.astype(np.uint16), mask


@pytest.fixture(scope="module")
def frames() -> list[NDArray[np.uint16]]:
    return [scene(seed, 400)[0] for seed in range(6)]


@pytest.fixture(scope="module")
def flat() -> list[NDArray[np.uint16]]:
    """Noise without a target: its maps are an order of magnitude below those of the scenes."""
    return [scene(seed, 0)[0] for seed in range(3)]


@pytest.fixture(scope="module")
def detector() -> sdk.Detector:
    return sdk.Detector("pit-n", engine="onnxruntime", threads=1)


@pytest.fixture(scope="module")
def package(
    detector: sdk.Detector, frames: list[NDArray[np.uint16]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("int8") / "pit-n-int8"
    report = detector.export(
        path, format="package", precision="int8", calibrate=frames[:3], verify=frames[3:]
    )
    assert tuple(each.engine for each in report.comparisons) == ENGINES
    assert not report.broken
    return path


@pytest.mark.parametrize("engine", ENGINES)
def test_the_package_runs_in_8_bits_where_it_is_asked_for(
    engine: str, package: Path, detector: sdk.Detector, frames: list[NDArray[np.uint16]]
) -> None:
    with sdk.Detector(package, engine=engine, precision="int8", threads=1) as other:
        assert other.engine_info.precision == "int8"
        moved = 0.0
        for frame in frames:
            ours, theirs = detector.detect(frame), other.detect(frame)
            moved = max(moved, float(np.abs(ours.score_map - theirs.score_map).max()))
            assert len(ours) == len(theirs) == 3
            np.testing.assert_allclose(theirs.xy, ours.xy, atol=0.5, rtol=0)
    assert moved > 1e-4, "fp32 ran: it agrees to about 1e-6 between engines"
    with sdk.Detector(package, engine=engine, threads=1) as other:
        assert other.engine_info.precision == "fp32", "int8 is never taken unasked"


@pytest.mark.parametrize("engine", ENGINES)
def test_8_bits_inside_leave_log_odds_of_32(
    engine: str, package: Path, frames: list[NDArray[np.uint16]]
) -> None:
    """The last convolution stays fp32, so a threshold by log-odds has as many steps as without 8 bits."""
    with sdk.Detector(package, engine=engine, precision="int8", threads=1) as detector:
        assert detector.gives_log_odds
        plain = detector.detect(frames[0], threshold=0.5)
        finer = detector.detect(frames[0], threshold=sdk.LogOdds(0))
        np.testing.assert_array_equal(finer.mask, plain.mask)
        values = finer.log_odds_map
        np.testing.assert_allclose(1 / (1 + np.exp(-values)), plain.score_map, atol=1e-6, rtol=0)
        assert len(np.unique(values)) > 1000, "8 bits tell 256 values apart"
        top = float(values.max())
        assert len(detector.detect(frames[0], threshold=sdk.LogOdds(top))) == 0


def test_8_bits_before_the_last_sigmoid_are_refused_with_the_reason() -> None:
    helper, kinds = onnx.helper, onnx.TensorProto
    scale, zero = (
        helper.make_tensor("scale", kinds.FLOAT, (), [0.1]),
        helper.make_tensor("zero", kinds.UINT8, (), [128]),
    )
    shape = [1, 1, None, None]
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["frame", "scale", "zero"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["logits"]),
            helper.make_node("Sigmoid", ["logits"], ["probability"]),
        ],
        "quantised",
        [helper.make_tensor_value_info("frame", kinds.FLOAT, shape)],
        [helper.make_tensor_value_info("probability", kinds.FLOAT, shape)],
        [scale, zero],
    )
    content = helper.make_model(graph).SerializeToString()
    assert "8 bits before its last sigmoid" in log_odds_missing(content)
    with pytest.raises(
        sdk.EngineError, match=r"n\.onnx: .*8 bits.*pitviper export.*a probability as threshold"
    ):
        with_log_odds(content, "n.onnx")


def test_the_package_says_how_it_was_made_and_keeps_the_outer_convolutions(package: Path) -> None:
    opened = sdk.open_model(package)
    told = json.loads(opened.read("quantisation.json"))
    assert (told["ranges"], told["frames"], told["convolutions"]) == ("percentile", 3, 14)
    assert len(told["kept_fp32"]) == 3
    assert [each["engine"] for each in told["comparisons"]] == list(ENGINES)
    graph = onnx.load_from_string(opened.read("network-int8.onnx")).graph
    makers = {name: node for node in graph.node for name in node.output}
    quantised = {node.name for node in graph.node if node.op_type == "Conv" and node.input[1] in makers}
    every = {node.name for node in graph.node if node.op_type == "Conv"}
    assert every - quantised == set(told["kept_fp32"])
    weights = {each.name: tuple(each.dims) for each in graph.initializer}
    scales = [weights[node.input[1]] for node in graph.node if node.op_type == "DequantizeLinear"]
    assert sum(len(shape) == 1 for shape in scales) >= len(quantised), "weights have a scale for each channel"


def test_a_calibration_that_loses_targets_is_refused_and_can_be_forced(
    detector: sdk.Detector,
    frames: list[NDArray[np.uint16]],
    flat: list[NDArray[np.uint16]],
    tmp_path: Path,
) -> None:
    path = tmp_path / "bad"
    given = {"format": "package", "precision": "int8", "calibrate": flat, "verify": frames}
    with pytest.raises(sdk.AccuracyGate, match=r"of 18 targets (lost|added).*most on frame \d"):
        detector.export(path, **given)
    assert not path.exists()
    report = detector.export(path, **given, force=True)
    assert report.broken
    assert sdk.open_model(path).manifest.name == "pit-n"


def test_masks_make_the_gate_one_of_pd(
    detector: sdk.Detector, flat: list[NDArray[np.uint16]], tmp_path: Path
) -> None:
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    for seed in range(3):
        frame, mask = scene(seed, 400)
        Image.fromarray(frame).save(tmp_path / "set" / "images" / f"{seed}.png")
        Image.fromarray(mask).save(tmp_path / "set" / "masks" / f"{seed}.png")
    given = open_dataset(tmp_path / "set", "all")
    with pytest.raises(sdk.AccuracyGate, match=r"(pd|iou) falls from|fa rises from"):
        detector.export(tmp_path / "x.onnx", precision="int8", calibrate=flat, verify=given)


def test_one_file_in_8_bits(detector: sdk.Detector, frames: list[NDArray[np.uint16]], tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the extra export is not installed")
    report = detector.export(tmp_path / "out.onnx", precision="int8", calibrate=frames[:3], verify=frames[3:])
    operators = [node.op_type for node in onnx.load(tmp_path / "out.onnx").graph.node]
    assert report.quantisation is not None
    assert operators.count("QuantizeLinear") >= 14 - len(report.quantisation["kept_fp32"])


@pytest.mark.parametrize("ranges", ["percentile", "entropy"])
def test_histograms_take_frames_of_several_sizes(ranges: str, frames: list[NDArray[np.uint16]]) -> None:
    given = [frames[0][:48].astype(np.float32), frames[1][:, :80].astype(np.float32)]
    given[1][40, 70] = 1e5
    inputs = calibration_inputs(given, stride=8, ranges=ranges)
    assert [each.shape for each in inputs] == [(1, 1, 48, 80)] * 2
    assert inputs[1].max() == np.float32(1e5), "the window holds what stands out"
    standardised = [(each - 7800) / 12 for each in inputs]
    made = quantise(sdk.open_model("pit-n").read("network.onnx"), standardised, ranges=ranges)
    assert made.ranges == ranges


def test_what_int8_needs_is_said(
    detector: sdk.Detector, frames: list[NDArray[np.uint16]], flat: list[NDArray[np.uint16]], tmp_path: Path
) -> None:
    path = tmp_path / "out.onnx"
    with pytest.raises(sdk.InputError, match="--calibrate"):
        detector.export(path, precision="int8", verify=frames)
    with pytest.raises(sdk.InputError, match="--verify"):
        detector.export(path, precision="int8", calibrate=frames)
    with pytest.raises(sdk.InputError, match="for precision='int8'"):
        detector.export(path, calibrate=frames)
    with pytest.raises(sdk.InputError, match="percentile, minmax, entropy"):
        detector.export(path, precision="int8", calibrate=frames, verify=frames, ranges="mean")
    with pytest.raises(sdk.InputError, match="holds a target"):
        detector.export(path, precision="int8", calibrate=frames[:1], verify=flat)
    with pytest.raises(sdk.InputError, match="'fp16' is not offered"):
        detector.export(path, precision="fp16")
    assert list(tmp_path.iterdir()) == []
