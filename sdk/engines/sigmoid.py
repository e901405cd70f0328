# SPDX-License-Identifier: Apache-2.0
"""An ONNX network with a second output: what goes into its last sigmoid."""

from __future__ import annotations

from typing import Final

from pitviper.core.plan.onnx_graph import GraphError, read_graph
from pitviper.sdk.errors import EngineError

__all__ = ["with_log_odds"]

# Field numbers of onnx.proto3.
_MODEL_GRAPH: Final = 7
_GRAPH_OUTPUT: Final = 12
_VALUE_NAME: Final = 1
_VALUE_TYPE: Final = 2
_TYPE_TENSOR: Final = 1
_FLOAT32: Final = b"\x08\x01"
"""The element type of a tensor: field 1, number 1."""


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
    try:
        graph = read_graph(content)
    except GraphError as error:
        raise EngineError(f"{name}: its log-odds cannot be had: it {error}") from error
    makers = [node for node in graph.nodes if graph.outputs[0] in node.outputs]
    if len(graph.outputs) != 1 or not makers or makers[0].op != "Sigmoid":
        raise EngineError(f"{name}: its log-odds cannot be had: it does not end in one sigmoid")
    value = _field(_VALUE_NAME, makers[0].inputs[0].encode())
    value += _field(_VALUE_TYPE, _field(_TYPE_TENSOR, _FLOAT32))
    return content + _field(_MODEL_GRAPH, _field(_GRAPH_OUTPUT, value))


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes: its key, its length in groups of seven bits, and the data."""
    length, head = len(data), bytearray([number << 3 | 2])
    while length > 127:
        head.append(length & 127 | 128)
        length >>= 7
    return bytes(head) + bytes([length]) + data
