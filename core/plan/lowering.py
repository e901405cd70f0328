# SPDX-License-Identifier: Apache-2.0
"""From the graph of a deployed network to launches: every convolution takes the operators behind it along."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pitviper.core.plan.fusing import Step
from pitviper.core.plan.layout import CHANNEL_MULTIPLE, Launch, Op, Value
from pitviper.core.plan.onnx_graph import Graph, Node


class PlanError(ValueError):
    """A network that the fused kernels do not run; the message names the operator."""


_NOTHING = np.zeros(0, np.float32)
_INPUT_CHAIN = frozenset({"Shape", "Concat", "Reshape", "Div", "Mul", "Transpose"})
_UNSHUFFLE = (0, 1, 3, 5, 2, 4)
_NEAREST = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}


class Lowering:
    """Walks a graph once; afterwards ``values``, ``steps`` and ``block`` describe it.

    Each convolution is one step, with upsampling, addition and ReLU behind it; the last step is the head.

    Args:
        graph: Deployed network, one plane standardised in, probability out.

    Raises:
        PlanError: It holds what the fused kernels do not run.
    """

    def __init__(self, graph: Graph) -> None:
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise PlanError(f"has inputs {graph.inputs} and outputs {graph.outputs}; needed is one of each")
        self._graph = graph
        self._producer = {name: node for node in graph.nodes for name in node.outputs}
        self._uses = Counter(name for node in graph.nodes for name in node.inputs)
        self._reader = {name: node for node in graph.nodes for name in node.inputs}
        self._index: dict[str, int] = {}
        self._done: set[int] = set()
        self.values: list[Value] = []
        self.steps: list[Step] = []
        self.block = self._read_input()
        terms = self._head_terms()
        for node in graph.nodes:
            if id(node) not in self._done:
                self._lower(node)
        self._add_head(terms)

    def _read_input(self) -> int:
        """Marks the nodes of the space-to-depth that the exporter writes; 1 or 2."""
        given = self._graph.inputs[0]
        first = next((node for node in self._graph.nodes if node.op == "Conv"), None)
        if first is None:
            raise PlanError("holds no convolution")
        chain: list[Node] = []
        pending = [first.inputs[0]]
        while pending:
            node = self._producer.get(pending.pop())
            if node is not None and node not in chain:
                chain.append(node)
                pending.extend(node.inputs)
        block = 1
        if chain:
            turned = [node for node in chain if node.op == "Transpose"]
            divisors = [self._constant(node.inputs[1]) for node in chain if node.op == "Div"]
            known = {node.op for node in chain} <= _INPUT_CHAIN
            perms = [node.attributes.get("perm") for node in turned]
            if not known or perms != [_UNSHUFFLE] or [d.tolist() for d in divisors] != [[2], [2]]:
                raise PlanError("prepares its input in a way that is no space-to-depth of 2")
            block = 2
        kernel = self._constant(first.inputs[1])
        if kernel.shape[1] != block * block:
            raise PlanError(f"takes {kernel.shape[1]} planes where one frame gives {block * block}")
        self._done.update(id(node) for node in chain)
        self._index[first.inputs[0] if chain else given] = 0
        self.values.append(Value(block * block, block))
        return block

    def _head_terms(self) -> list[tuple[Node, int]]:
        """The 1x1 convolutions whose sum is the logit, each with the pixels it gives for one of its input's."""
        sigmoid = self._made_by(self._graph.outputs[0])
        if sigmoid.op != "Sigmoid":
            raise PlanError(f"ends in {sigmoid.op}; needed is Sigmoid")
        terms: list[tuple[Node, int]] = []
        pending = [(sigmoid, 1)]
        while pending:
            node, pixels = pending.pop()
            self._done.add(id(node))
            if node.op == "Conv":
                terms.append((node, pixels))
                continue
            if node.op == "DepthToSpace" and node.attributes.get("blocksize") == 2 and pixels == 1:
                pixels = 4
            elif node.op not in ("Sigmoid", "Add"):
                raise PlanError(f"has {_said(node)} between its last convolutions and the sigmoid")
            pending.extend((self._made_by(name), pixels) for name in node.inputs)
        if not 1 <= len(terms) <= 2:
            raise PlanError(f"sums {len(terms)} maps to the logit; the fused kernels take one or two")
        return terms

    def _lower(self, node: Node) -> None:
        if node.op != "Conv":
            raise PlanError(f"has {_said(node)}, which the fused kernels do not run")
        kernel, bias = self._kernel(node)
        stride = self._stride(node)
        output, skip, upsample = node.outputs[0], -1, False
        source = self._place_of(node)
        after = self._only_reader(output)
        if after is not None and after.op == "Resize":
            self._check_nearest(after)
            output, upsample = self._take(after), True
            after = self._only_reader(output)
        if after is not None and after.op == "Add":
            other = next((name for name in after.inputs if name != output), output)
            if other in self._index:
                skip, output = self._index[other], self._take(after)
                after = self._only_reader(output)
        relu = after is not None and after.op == "Relu"
        if relu:
            assert after is not None
            output = self._take(after)
        divisor = self.values[source].divisor * stride
        if upsample:
            divisor //= 2
        target = self._new(output, kernel.shape[0], divisor)
        inputs = self.values[source].channels
        channels = self.values[target].channels
        side = kernel.shape[2]
        launch = Launch(
            Op.CONV,
            source,
            target,
            channels,
            residual=skip,
            kernel=side,
            stride=stride,
            relu=relu,
            upsample=2 if upsample else 1,
        )
        weight = _padded(kernel, (channels, inputs, side, side))
        self.steps.append(Step(launch, (weight, _padded(bias, (channels,)), *[_NOTHING] * 5)))

    def _add_head(self, terms: list[tuple[Node, int]]) -> None:
        inputs, weights, total = [-1, -1], [_NOTHING, _NOTHING], np.zeros(4, np.float32)
        for place, (node, pixels) in enumerate(terms):
            kernel, bias = self._kernel(node)
            value = self._place_of(node)
            divisor, channels = self.values[value].divisor, self.values[value].channels
            if kernel.shape[2] != 1 or kernel.shape[0] != pixels or divisor * divisor != pixels:
                raise PlanError(f"has {_said(node)} {list(kernel.shape)} before the sigmoid; needed is 1x1")
            inputs[place] = value
            weights[place] = _padded(kernel[:, :, 0, 0], (pixels, channels))
            total = total + bias
        launch = Launch(Op.CONV, inputs[0], -1, 1, coarse=inputs[1], kernel=1, relu=False)
        self.steps.append(Step(launch, (weights[0], total, weights[1])))

    def _kernel(self, node: Node) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Kernel [C_out, C_in, k, k] and bias [C_out] of a convolution that the kernels run."""
        kernel = self._constant(node.inputs[1])
        side = kernel.shape[-1]
        found = node.attributes
        plain = found.get("group", 1) == 1 and set(found.get("dilations", (1, 1))) == {1}
        kept = tuple(found.get("pads", (0, 0, 0, 0))) == (side // 2,) * 4
        if kernel.shape[2:] not in ((1, 1), (3, 3)) or not plain or not kept:
            raise PlanError(
                f"has {_said(node)} {list(kernel.shape)} with {found}, which the fused kernels do not run"
            )
        if len(node.inputs) < 3 or not node.inputs[2]:
            return kernel, np.zeros(kernel.shape[0], np.float32)
        return kernel, self._constant(node.inputs[2])

    def _stride(self, node: Node) -> int:
        strides = tuple(node.attributes.get("strides", (1, 1)))
        if strides not in ((1, 1), (2, 2)):
            raise PlanError(f"has {_said(node)} with strides {strides}; the fused kernels run 1 and 2")
        return int(strides[0])

    def _check_nearest(self, node: Node) -> None:
        scales = self._constant(node.inputs[2]).tolist() if len(node.inputs) == 3 else None
        asked = {key: node.attributes.get(key) for key in _NEAREST}
        if asked != _NEAREST or scales != [1, 1, 2, 2]:
            raise PlanError(
                f"has {_said(node)} with {asked} by {scales}; the fused kernels double by nearest neighbour"
            )

    def _made_by(self, name: str) -> Node:
        if name not in self._producer:
            raise PlanError(f"adds {name!r}, which no operator makes, to the logit")
        return self._producer[name]

    def _place_of(self, node: Node) -> int:
        if node.inputs[0] not in self._index:
            raise PlanError(f"has {_said(node)} on a map that no kernel writes")
        return self._index[node.inputs[0]]

    def _constant(self, name: str) -> NDArray[Any]:
        if name not in self._graph.constants:
            raise PlanError(f"computes {name!r} where the fused kernels need a constant")
        return self._graph.constants[name]

    def _only_reader(self, name: str) -> Node | None:
        reader = self._reader.get(name) if self._uses[name] == 1 else None
        return None if reader is None or id(reader) in self._done else reader

    def _take(self, node: Node) -> str:
        self._done.add(id(node))
        return node.outputs[0]

    def _new(self, name: str, channels: int, divisor: int) -> int:
        self._index[name] = len(self.values)
        self.values.append(Value(-(-channels // CHANNEL_MULTIPLE) * CHANNEL_MULTIPLE, divisor))
        return self._index[name]


def _said(node: Node) -> str:
    return f"operator {node.op} ({', '.join(node.outputs)})"


def _padded(values: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.pad(values, [(0, more - given) for given, more in zip(values.shape, shape, strict=True)])
