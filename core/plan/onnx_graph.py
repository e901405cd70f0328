# SPDX-License-Identifier: Apache-2.0
"""The nodes and constants of an ONNX file, read without the onnx package.

Only what a plan needs is decoded: operator names, edges, attributes of the kinds int, ints, float and string, and
constants of float32 and int64 that lie in the file itself. The numbers are the field numbers of ``onnx.proto3``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DTYPES: dict[int, np.dtype[Any]] = {1: np.dtype("<f4"), 7: np.dtype("<i8")}


class GraphError(ValueError):
    """A file that is no ONNX model, is damaged, or uses what this reader does not decode."""


@dataclass(frozen=True)
class Node:
    """One operator: ``outputs = op(inputs)``. An input that was left out is the empty string."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order, constants by name, names of inputs (without constants) and outputs."""

    nodes: tuple[Node, ...]
    constants: dict[str, NDArray[Any]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def read_graph(content: bytes, *, constants: bool = True) -> Graph:
    """Decode an ONNX model.

    Args:
        content: The file.
        constants: Decode the constants too. Without them any of their types may be in the file, as 8 bits are in a
            quantised network, and ``Graph.constants`` is empty.

    Raises:
        GraphError: It cannot be decoded; the message says what is odd.
    """
    try:
        graphs = [value for field, value in _fields(memoryview(content)) if field == 7]
        if len(graphs) != 1:
            raise GraphError(f"holds {len(graphs)} graphs, an ONNX model has one")
        return _graph(_bytes(graphs[0]), wanted=constants)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise GraphError(f"is damaged or no ONNX model ({error})") from error


def _graph(content: memoryview, *, wanted: bool) -> Graph:
    nodes: list[Node] = []
    constants: dict[str, NDArray[Any]] = {}
    inputs: list[str] = []
    outputs: list[str] = []
    for field, value in _fields(content):
        if field == 1:
            nodes.append(_node(_bytes(value)))
        elif field == 5 and wanted:
            name, constant = _tensor(_bytes(value))
            constants[name] = constant
        elif field in (11, 12):
            names = [_text(part) for key, part in _fields(_bytes(value)) if key == 1]
            (inputs if field == 11 else outputs).extend(names)
    given = tuple(name for name in inputs if name not in constants)
    return Graph(tuple(nodes), constants, given, tuple(outputs))


def _node(content: memoryview) -> Node:
    op = ""
    inputs: list[str] = []
    outputs: list[str] = []
    attributes: dict[str, Any] = {}
    for field, value in _fields(content):
        if field == 1:
            inputs.append(_text(value))
        elif field == 2:
            outputs.append(_text(value))
        elif field == 4:
            op = _text(value)
        elif field == 5:
            name, attribute = _attribute(_bytes(value))
            attributes[name] = attribute
    return Node(op, tuple(inputs), tuple(outputs), attributes)


def _attribute(content: memoryview) -> tuple[str, Any]:
    name, kind = "", 0
    values: dict[int, Any] = {}
    numbers: list[int] = []
    for field, value in _fields(content):
        if field == 1:
            name = _text(value)
        elif field == 20:
            kind = _int(value)
        elif field == 8:
            numbers.extend(_ints(value))
        else:
            values[field] = value
    if kind == 1:  # a float
        return name, struct.unpack("<f", values[2])[0] if 2 in values else 0.0
    if kind == 2:  # an integer
        return name, _int(values.get(3, 0))
    if kind == 3:  # a string
        return name, _text(values.get(4, memoryview(b"")))
    if kind == 7:
        return name, tuple(numbers)
    return name, None


def _tensor(content: memoryview) -> tuple[str, NDArray[Any]]:
    name, dtype, raw = "", 0, None
    shape: list[int] = []
    for field, value in _fields(content):
        if field == 1:
            shape.extend(_ints(value))
        elif field == 2:
            dtype = _int(value)
        elif field == 8:
            name = _text(value)
        elif field == 9:
            raw = _bytes(value)
    if dtype not in _DTYPES or raw is None:
        raise GraphError(
            f"constant {name!r} is of type {dtype} or outside the file; needed is raw float32 or int64"
        )
    if min(shape, default=0) < 0 or int(np.prod(shape)) * _DTYPES[dtype].itemsize != len(raw):
        raise GraphError(f"constant {name!r} has {len(raw)} bytes, which is not {shape} of {_DTYPES[dtype]}")
    return name, np.frombuffer(raw, _DTYPES[dtype]).reshape(shape)


def _fields(content: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The (number, value) pairs of one protocol buffers message."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(content, at)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            size, at = _varint(content, at)
        if size is None or at + size > len(content):
            raise GraphError(f"is damaged or no ONNX model (field {key >> 3} at byte {at})")
        yield key >> 3, content[at : at + size]
        at += size


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    raise GraphError("is damaged or no ONNX model (a number does not end)")


def _ints(value: int | memoryview) -> list[int]:
    """A repeated integer, one by one or packed."""
    if isinstance(value, int):
        return [_int(value)]
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(_int(number))
    return found


def _int(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise GraphError("is damaged or no ONNX model (bytes where a number is due)")
    return value - (1 << 64) if value >= 1 << 63 else value


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise GraphError("is damaged or no ONNX model (a number where bytes are due)")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_bytes(value)).decode("utf-8")
