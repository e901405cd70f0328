# SPDX-License-Identifier: Apache-2.0
"""From a network to ONNX: the network alone, and the whole detector with standardisation, padding and cropping.

Both graphs take any batch size; ``network_onnx`` any multiples of the stride and ``detector_onnx`` any H and W. Opset
18 and standard operators only, so that ONNX Runtime, OpenVINO and TensorRT read the same file.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pitviper.core.models import DetectorNetwork
from pitviper.kernels.standardise.reference import BOX, DEVIATION_WEIGHT, RESIDUAL_WEIGHT

OPSET = 18
_IR_VERSION = 8


class _Probability(nn.Module):
    def __init__(self, network: DetectorNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, standardised: Tensor) -> Tensor:
        stages = self.network.encode(standardised)
        return torch.sigmoid(self.network.decode(stages)["final"])


def network_onnx(network: DetectorNetwork) -> bytes:
    """Serialise the deployed network with a sigmoid.

    Returns:
        ONNX model, input ``standardised`` float32 [N, C, H, W] with H and W multiples of the network's stride, output
        ``probability`` float32 [N, 1, H, W].

    Raises:
        ModuleNotFoundError: onnx or onnxscript is missing; the message names the extra.
    """
    _onnx()
    deployed = _Probability(network.deploy()).eval()
    stride, channels = network.required_multiple, network.in_channels
    example = torch.zeros(2, channels, 4 * stride, 6 * stride, device=next(network.parameters()).device)
    dim = torch.export.Dim
    shape = {0: dim("N", min=1), 2: stride * dim("rows", min=1), 3: stride * dim("columns", min=1)}
    with _quiet():
        program = torch.onnx.export(
            deployed,
            (example,),
            input_names=["standardised"],
            output_names=["probability"],
            dynamic_shapes=(shape,),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _clean(model)
    return _checked(model)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the exporter says about itself: a deprecation inside it, and torchvision, which is not needed."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*treespec, LeafSpec.*", category=FutureWarning)
            yield
    finally:
        registration.setLevel(level)


def _clean(model: Any) -> None:
    """Drop the exporter's stack traces, which hold paths of this machine, and name the free dimensions N, H and W."""
    graph = model.graph
    del model.metadata_props[:], graph.metadata_props[:], graph.value_info[:]
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    for value in (*graph.input, *graph.output):
        for axis, name in ((0, "N"), (2, "H"), (3, "W")):
            value.type.tensor_type.shape.dim[axis].dim_param = name
    model.ir_version = _IR_VERSION


def detector_onnx(network: bytes, *, stride: int) -> bytes:
    """Put standardisation and padding before a ``network_onnx`` graph, and the crop behind it.

    The definition is ``kernels/standardise/reference.py``; statistics are float32 here, two-pass.

    Returns:
        ONNX model, input ``frame`` float32 [N, 1, H, W] in raw counts, output ``probability`` [N, 1, H, W].
    """
    onnx = _onnx()
    model = onnx.load_from_string(network)
    graph = _frame_graph(stride)
    body = onnx.compose.add_prefix(model, "network/")
    merged = onnx.compose.merge_models(graph, body, io_map=[("standardised", "network/standardised")])
    helper = onnx.helper
    crop = [
        helper.make_node(
            "Slice", ["network/probability", "crop_start", "height_width", "crop_axes"], ["probability"]
        )
    ]
    merged.graph.node.extend(crop)
    merged.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(2, np.int64), "crop_start"))
    merged.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 3], np.int64), "crop_axes"))
    del merged.graph.output[:]
    shape = ["N", 1, "H", "W"]
    merged.graph.output.append(helper.make_tensor_value_info("probability", onnx.TensorProto.FLOAT, shape))
    del merged.opset_import[1:]  # merging lists the one operator set once per part
    return _checked(merged)


def _frame_graph(stride: int) -> Any:
    """``frame`` [N, 1, H, W] -> ``standardised``, padded bottom and right by reflection to the stride."""
    onnx = _onnx()
    node, array = onnx.helper.make_node, onnx.numpy_helper.from_array
    box = np.full((1, 1, 1, BOX), 1.0 / BOX, np.float32)
    half = BOX // 2
    constants = {
        "spatial": np.array([1, 2, 3], np.int64),
        "box_row": box,
        "box_column": box.transpose(0, 1, 3, 2),
        "border": np.array([0, 0, half, half, 0, 0, half, half], np.int64),
        "a": np.array(RESIDUAL_WEIGHT, np.float32),
        "b": np.array(DEVIATION_WEIGHT, np.float32),
        "zero": np.array(0, np.float32),
        "stride": np.array([stride], np.int64),
        "no_pads": np.zeros(6, np.int64),
    }
    nodes = [
        node("ReduceMean", ["frame", "spatial"], ["mean"], keepdims=1),
        node("Sub", ["frame", "mean"], ["rough"]),
        node("ReduceMean", ["rough", "spatial"], ["rest"], keepdims=1),
        node("Sub", ["rough", "rest"], ["centred"]),
        node("Pad", ["centred", "border"], ["bordered"], mode="reflect"),
        node("Conv", ["bordered", "box_row"], ["rows"]),
        node("Conv", ["rows", "box_column"], ["local"]),
        node("Sub", ["centred", "local"], ["residual"]),
        *_deviation(node, "residual"),
        *_deviation(node, "centred"),
        node("Mul", ["residual_deviation", "a"], ["residual_part"]),
        node("Mul", ["centred_deviation", "b"], ["total_part"]),
        node("Add", ["residual_part", "total_part"], ["scale"]),
        node("Div", ["centred", "scale"], ["scaled"]),
        node("ReduceMax", ["frame", "spatial"], ["highest"], keepdims=1),
        node("ReduceMin", ["frame", "spatial"], ["lowest"], keepdims=1),
        node("Greater", ["highest", "lowest"], ["varies"]),
        node("Where", ["varies", "scaled", "zero"], ["normal"]),
        node("Shape", ["frame"], ["height_width"], start=2, end=4),
        node("Neg", ["height_width"], ["negative"]),
        node("Mod", ["negative", "stride"], ["missing"]),
        node("Concat", ["no_pads", "missing"], ["pads"], axis=0),
        node("Pad", ["normal", "pads"], ["standardised"], mode="reflect"),
    ]
    info = onnx.helper.make_tensor_value_info
    value = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "frame",
        [info("frame", value, ["N", 1, "H", "W"])],
        [
            info("standardised", value, ["N", 1, "H_padded", "W_padded"]),
            info("height_width", onnx.TensorProto.INT64, [2]),
        ],
        [array(v, k) for k, v in constants.items()],
    )
    return onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=_IR_VERSION
    )


def _deviation(node: Any, name: str) -> list[Any]:
    """Population standard deviation over a frame, two-pass."""
    return [
        node("ReduceMean", [name, "spatial"], [f"{name}_mean"], keepdims=1),
        node("Sub", [name, f"{name}_mean"], [f"{name}_off"]),
        node("Mul", [f"{name}_off", f"{name}_off"], [f"{name}_square"]),
        node("ReduceMean", [f"{name}_square", "spatial"], [f"{name}_variance"], keepdims=1),
        node("Sqrt", [f"{name}_variance"], [f"{name}_deviation"]),
    ]


def _checked(model: Any) -> bytes:
    onnx = _onnx()
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


def _onnx() -> Any:
    try:
        import onnx
        import onnx.compose
        import onnxscript  # noqa: F401  # torch.onnx.export(dynamo=True) needs it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'export needs onnx and onnxscript: pip install "pitviper[export]"'
        ) from error
    return onnx
