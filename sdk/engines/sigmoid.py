# SPDX-License-Identifier: Apache-2.0
"""An ONNX network with a second output: what goes into its last sigmoid."""

from __future__ import annotations

from typing import Final

from pitviper.core.plan.onnx_graph import GraphError, read_graph
from pitviper.sdk.errors import EngineError

__all__ = ["log_odds_missing", "with_log_odds"]

# Field numbers of onnx.proto3.
_MODEL_GRAPH: Final = 7
_GRAPH_OUTPUT: Final = 12
_VALUE_NAME: Final = 1
_VALUE_TYPE: Final = 2
_TYPE_TENSOR: Final = 1
_FLOAT32: Final = b"\x08\x01"
"""The element type of a tensor: field 1, number 1."""


def log_odds_missing(content: bytes) -> str:
    """Why the log-odds of an ONNX model cannot be had, as the end of a sentence that begins with "it"; else empty.

    They are what goes into its last sigmoid, which has to be float32: of 8 bits there are 256 values in all, which tell
    strict thresholds apart less well than probabilities do.
    """
    try:
        graph = read_graph(content, constants=False)
    except GraphError as error:
        return str(error)
    makers = {name: node for node in graph.nodes for name in node.outputs}
    last = makers.get(graph.outputs[0]) if len(graph.outputs) == 1 else None
    if last is None or last.op != "Sigmoid":
        return "does not end in one sigmoid"
    before = makers.get(last.inputs[0])
    if before is not None and before.op == "DequantizeLinear":
        return "has 8 bits before its last sigmoid; quantise it with pitviper export, which keeps its end in fp32"
    return ""


def with_log_odds(content: bytes, name: str) -> bytes:
    """The model with the input of its last sigmoid as a second output.

    The network stays as it is, byte for byte: a protocol buffer takes a part that is appended into the one that it
    holds already, and lists in it grow.

    Args:
        content: An ONNX model of one output, a sigmoid's.
        name: What errors call it.

    Raises:
        EngineError: Another kind of model.
    """
    missing = log_odds_missing(content)
    if missing:
        raise EngineError(
            f"{name}: its log-odds cannot be had: it {missing}; a probability as threshold needs none"
        )
    graph = read_graph(content, constants=False)
    last = next(node for node in graph.nodes if graph.outputs[0] in node.outputs)
    value = _field(_VALUE_NAME, last.inputs[0].encode())
    value += _field(_VALUE_TYPE, _field(_TYPE_TENSOR, _FLOAT32))
    return content + _field(_MODEL_GRAPH, _field(_GRAPH_OUTPUT, value))


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes: its key, its length in groups of seven bits, and the data."""
    length, head = len(data), bytearray([number << 3 | 2])
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes(head) + bytes([length]) + data
