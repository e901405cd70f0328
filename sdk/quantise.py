# SPDX-License-Identifier: Apache-2.0
"""An 8-bit form of a package's network: its convolutions between quantise and dequantise operators.

The precision stands in the graph (ONNX Q/DQ), so the file means the same in every runtime. The convolutions next to
the input and to the output stay fp32: the input is unbounded in deviations of the frame, and the output decides
whether a pixel is a target.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.sdk.errors import InputError, MissingExtra

__all__ = ["METHODS", "Quantised", "calibration_inputs", "quantise"]

METHODS: Final = {"percentile": "Percentile", "minmax": "MinMax", "entropy": "Entropy"}
"""How the range of a map is chosen, by ONNX Runtime's name of it."""
PERCENTILE: Final = 99.999
"""A target of four pixels is 0.001 % of a 640x512 frame: a lower percentile cuts off what is looked for."""
_PREPROCESSED: Final = ("onnx.quant.pre_process", "onnxruntime.quant")
"""Tells ONNX Runtime that shapes are inferred, which is all of its preparation that this graph needs."""


@dataclass(frozen=True)
class Quantised:
    """A network in 8 bits.

    Attributes:
        content: ONNX model with the inputs and outputs of the network that it was made from.
        ranges: One of `METHODS`.
        frames: Frames that it was calibrated on.
        kept_fp32: Names of the convolutions that were left as they were.
        convolutions: All of them.
    """

    content: bytes
    ranges: str
    frames: int
    kept_fp32: tuple[str, ...]
    convolutions: int

    def to_dict(self) -> dict[str, Any]:
        """How it was made, safe for JSON; without the model."""
        return {
            "ranges": self.ranges,
            "frames": self.frames,
            "kept_fp32": list(self.kept_fp32),
            "convolutions": self.convolutions,
        }


def calibration_inputs(
    standardised: Sequence[NDArray[np.float32]], *, stride: int, ranges: str
) -> list[NDArray[np.float32]]:
    """What the network sees while its ranges are taken, each [1, 1, h, w].

    For ``minmax`` these are the frames. ONNX Runtime's histograms need maps of one size, so for the others they are
    windows of one size, each around the pixel of its frame that stands out most: that is what the ranges have to hold.

    Args:
        standardised: Frames float32 [Hp, Wp] from `standardise`.
        stride: Sides of the windows are its largest multiples that fit into every frame.
        ranges: One of `METHODS`.

    Raises:
        InputError: No frame.
    """
    if not standardised:
        raise InputError("no frame to calibrate on; pass some fifty frames of the scenes to be seen")
    if ranges == "minmax":
        return [frame[None, None] for frame in standardised]
    height, width = (min(frame.shape[axis] for frame in standardised) // stride * stride for axis in (0, 1))
    windows = []
    for frame in standardised:
        row, column = np.unravel_index(int(np.abs(frame).argmax()), frame.shape)
        top = min(max(0, int(row) - height // 2), frame.shape[0] - height)
        left = min(max(0, int(column) - width // 2), frame.shape[1] - width)
        windows.append(np.ascontiguousarray(frame[None, None, top : top + height, left : left + width]))
    return windows


def quantise(
    network: bytes, inputs: Sequence[NDArray[np.float32]], *, ranges: str = "percentile"
) -> Quantised:
    """Quantise the inner convolutions of a network: weights per channel, activations per map.

    Args:
        network: ONNX model of one float32 input [N, 1, H, W].
        inputs: From `calibration_inputs`.
        ranges: One of `METHODS`.

    Raises:
        InputError: Another ``ranges``, or a network without inner convolutions.
        MissingExtra: onnx is not installed.
    """
    if ranges not in METHODS:
        raise InputError(f"ranges={ranges!r} is not offered; take one of {', '.join(METHODS)}")
    try:
        import onnx
        from onnxruntime import quantization
    except ImportError as error:
        raise MissingExtra(f"int8 needs onnx ({error}); pip install 'pitviper[export]'") from error
    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(network))
    kept, count = _outer_convolutions(model.graph)
    if count == len(kept):
        raise InputError("the network has no convolution between its first and its last to run in 8 bits")
    entry = model.metadata_props.add()
    entry.key, entry.value = _PREPROCESSED
    # ONNX Runtime tells its progress by print(), and stdout is for data.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        target = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            model,
            target,
            _Reader(model.graph.input[0].name, inputs),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=kept,
            per_channel=True,
            # Unsigned: maps after a ReLU use all 256 steps, and this is what CPUs multiply without a detour.
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=getattr(quantization.CalibrationMethod, METHODS[ranges]),
            extra_options={"CalibPercentile": PERCENTILE},
        )
        content = _cleaned(onnx.load(target), model)
    return Quantised(content, ranges, len(inputs), tuple(kept), count)


class _Reader:
    """What ONNX Runtime asks for the next input, by the name of the input."""

    def __init__(self, name: str, inputs: Sequence[NDArray[np.float32]]) -> None:
        self._inputs: Iterator[dict[str, Any]] = iter([{name: each} for each in inputs])

    def get_next(self) -> dict[str, Any] | None:
        return next(self._inputs, None)


def _outer_convolutions(graph: Any) -> tuple[list[str], int]:
    """Convolutions between which and the input or the output no other one stands, by name, and the number of all."""
    forwards: dict[str, list[Any]] = {}
    backwards: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            forwards.setdefault(name, []).append(node)
        for name in node.output:
            backwards.setdefault(name, []).append(node)
    outer = _nearest_convolutions(graph.input[0].name, forwards, "output")
    outer |= _nearest_convolutions(graph.output[0].name, backwards, "input")
    names = [node.name for node in graph.node if node.op_type == "Conv"]
    return [name for name in names if name in outer], len(names)


def _nearest_convolutions(start: str, neighbours: dict[str, list[Any]], further: str) -> set[str]:
    waiting, seen, found = [start], {start}, set()
    while waiting:
        for node in neighbours.get(waiting.pop(), ()):
            if node.op_type == "Conv":
                found.add(node.name)
                continue
            new = set(getattr(node, further)) - seen
            seen |= new
            waiting.extend(new)
    return found


def _cleaned(model: Any, source: Any) -> bytes:
    """The model without what the tools noted in it, and with the names of free dimensions that it had."""
    import onnx

    del model.metadata_props[:], model.graph.value_info[:]
    # ONNX Runtime lists its own operators as well, of which none is in the graph.
    standard = [each for each in model.opset_import if each.domain in ("", "ai.onnx")]
    del model.opset_import[:]
    model.opset_import.extend(standard)
    model.producer_name, model.producer_version = "", ""
    model.ir_version = max(source.ir_version, model.ir_version)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content
