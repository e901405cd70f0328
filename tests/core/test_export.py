# SPDX-License-Identifier: Apache-2.0
"""The whole detector in one ONNX file equals standardise, padding and network, at any size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pitviper.core.export import OPSET, detector_onnx, network_onnx
from pitviper.core.models import DetectorNetwork
from pitviper.kernels import standardise

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

# The graph keeps its statistics in float32, the definition in float64; 16-bit counts leave some 2e-5 of the
# standardised values and the network's slope multiplies them.
PROBABILITY_TOLERANCE = 2e-4


def scene(height: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """14-bit counts: a ramp, noise and targets of 1, 2, 9 and 80 pixels where they fit."""
    rng = np.random.default_rng(seed)
    frame = np.linspace(6000, 8000, width) + rng.normal(0, 20, (height, width))
    for row, column, rows, columns in ((3, 5, 1, 1), (3, 14, 1, 2), (9, 4, 3, 3), (14, 10, 8, 10)):
        frame[row : row + rows, column : column + columns] += 600
    return np.rint(frame).astype(np.float32)


@pytest.fixture(scope="module")
def graphs(network: DetectorNetwork) -> tuple[bytes, bytes]:
    inner = network_onnx(network)
    return inner, detector_onnx(inner, stride=network.required_multiple)


@pytest.fixture(scope="module")
def detect(graphs: tuple[bytes, bytes]) -> Any:
    session = runtime.InferenceSession(graphs[1], providers=["CPUExecutionProvider"])
    return lambda frames: session.run(None, {"frame": frames})[0]


def expected(network: DetectorNetwork, frame: NDArray[np.float32]) -> NDArray[np.float32]:
    padded = standardise(frame, stride=network.required_multiple, backend="numpy")
    with torch.inference_mode():
        probability = torch.sigmoid(network(torch.from_numpy(padded)[None, None]))[0, 0]
    return probability[: frame.shape[0], : frame.shape[1]].numpy()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (61, 40), (40, 129), (120, 160), (25, 31)])
def test_detector_equals_definition(network: DetectorNetwork, detect: Any, height: int, width: int) -> None:
    frame = scene(height, width)
    found = detect(frame[None, None])
    assert found.shape == (1, 1, height, width)
    want = expected(network, frame)
    assert want.max() - want.min() > 0.05, "a constant map would prove nothing"
    assert np.abs(found[0, 0] - want).max() < PROBABILITY_TOLERANCE


@pytest.mark.parametrize("count", [1, 2, 5])
def test_frames_of_a_batch_do_not_see_each_other(network: DetectorNetwork, detect: Any, count: int) -> None:
    frames = np.stack([scene(37, 53, seed) * (1 + seed) + 100 * seed for seed in range(count)]).astype(
        np.float32
    )
    found = detect(frames[:, None])
    for frame, probability in zip(frames, found, strict=True):
        assert np.abs(probability[0] - expected(network, frame)).max() < PROBABILITY_TOLERANCE


@pytest.mark.parametrize("value", [0.0, 1.0, 255.0, 65535.0, -273.15, 12345.678])
def test_constant_frames_are_finite_and_like_zeros(
    network: DetectorNetwork, detect: Any, value: float
) -> None:
    frame = np.full((1, 1, 35, 33), value, np.float32)
    found = detect(frame)
    assert np.isfinite(found).all()
    assert np.abs(found[0, 0] - expected(network, np.zeros((35, 33), np.float32))).max() < 2e-5


@pytest.mark.parametrize(("gain", "offset"), [(1, 1200), (3, -5000), (0.25, 0), (1e-3, 273.15), (37, 1200)])
def test_gain_and_offset_change_nothing(detect: Any, gain: float, offset: float) -> None:
    frame = scene(64, 72)
    plain = detect(frame[None, None])
    changed = detect((gain * frame + offset).astype(np.float32)[None, None])
    # Counts that float32 cannot hold exactly lose up to 1 part in 2^24 of the offset; 1e-3 is 2 % of a gray step.
    assert np.abs(plain - changed).max() < 1e-3


def test_graphs_are_plain_onnx(graphs: tuple[bytes, bytes]) -> None:
    for content, name in zip(graphs, ("standardised", "frame"), strict=True):
        model = onnx.load_from_string(content)
        onnx.checker.check_model(model, full_check=True)
        assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)]
        assert {node.domain for node in model.graph.node} <= {""}
        assert not model.functions
        shapes = [
            [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in (*model.graph.input, *model.graph.output)
        ]
        assert [value.name for value in model.graph.input] == [name]
        assert [value.name for value in model.graph.output] == ["probability"]
        assert shapes == [["N", 1, "H", "W"]] * 2


def test_graphs_hold_no_path_of_the_machine_that_made_them(graphs: tuple[bytes, bytes]) -> None:
    for content in graphs:
        for path in (b".py", b"site-packages", b"/core/models"):
            assert path not in content


def test_deployed_graph_has_no_norm_left(graphs: tuple[bytes, bytes]) -> None:
    operators = {node.op_type for node in onnx.load_from_string(graphs[0]).graph.node}
    assert "BatchNormalization" not in operators
    assert {"Conv", "Relu", "DepthToSpace", "Sigmoid"} <= operators
