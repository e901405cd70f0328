# SPDX-License-Identifier: Apache-2.0
"""The layers of a network with their times, as the runtime tells them, and what each cannot do without."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.core.manifest import Package
from pitviper.kernels import standardise
from pitviper.kernels.cost import Cost
from pitviper.sdk.engines import openvino
from pitviper.sdk.engines.checks import network_file
from pitviper.sdk.engines.onnxruntime import cpu_session
from pitviper.sdk.errors import InputError
from pitviper.sdk.profile import benchmark_frame
from pitviper.sdk.profiling.launches import LaunchRun, launch_runs, runtime_runs
from pitviper.sdk.stream_stats import Spread

if TYPE_CHECKING:
    from pitviper.sdk.engines import EngineInfo

__all__ = ["PROFILED", "LayerTime", "layer_times"]

PROFILED: Final = ("onnxruntime", "openvino", "torch-fused", "cuda")
"""Engines whose runtime tells the time of its layers."""
_WARM_UP: Final = 3
_ITEMSIZE: Final = {
    "float": 4, "f32": 4, "float16": 2, "f16": 2, "bfloat16": 2, "bf16": 2, "double": 8, "f64": 8,
    "int64": 8, "i64": 8, "int32": 4, "i32": 4, "int8": 1, "i8": 1, "uint8": 1, "u8": 1, "bool": 1, "boolean": 1,
}  # fmt: skip
_CONVOLUTIONS: Final = ("Conv", "QLinearConv", "Convolution")

Tensor = tuple[tuple[int, ...], str]
"""Shape and element type, in the runtime's word for it."""


@dataclass(frozen=True)
class LayerTime:
    """One layer of the network as the runtime runs it: fused, reordered and renamed by its optimiser.

    Attributes:
        name: The runtime's name.
        kind: Its operator.
        kernel: The implementation that ran, where the runtime tells; else the operator again.
        clock: What took the times: ``the runtime``, ``CUDA events`` or ``wall clock``.
        spread: Time in milliseconds over the runs. Threads of one layer count once.
        cost: Bytes of its inputs and outputs, each once, and the multiplications and additions of a convolution.
    """

    name: str
    kind: str
    kernel: str
    clock: str
    spread: Spread
    cost: Cost


@dataclass(frozen=True)
class _Event:
    name: str
    kind: str
    kernel: str
    ms: float
    cost: Cost
    clock: str = "the runtime"


def layer_times(
    package: Package, info: EngineInfo, shape: tuple[int, int], *, rounds: int = 20
) -> list[LayerTime]:
    """Run the network of a package alone, with the runtime's profiling switched on; ``cuda`` runs whole frames.

    Args:
        package: Verified weights package.
        info: Engine, precision and number of threads to repeat.
        shape: (H, W) of the frame, which is padded to the stride.
        rounds: Runs that count; three more come before.

    Raises:
        InputError: The engine is none of `PROFILED`.
    """
    runs = _RUNNERS.get(info.name)
    if runs is None:
        raise InputError(f"engine {info.name!r} tells no times of its layers; {', '.join(PROFILED)} do")
    return _summed(runs(package, info, benchmark_frame(shape), rounds))


def _summed(runs: Sequence[Sequence[_Event]]) -> list[LayerTime]:
    """Spread of each layer over the runs, in the order of the last one."""
    times: dict[str, list[float]] = {}
    for run in runs:
        for event in run:
            times.setdefault(event.name, []).append(event.ms)
    return [
        LayerTime(event.name, event.kind, event.kernel, event.clock, Spread.of(times[event.name]), event.cost)
        for event in runs[-1]
    ]


def _standardised(package: Package, frame: NDArray[Any]) -> NDArray[np.float32]:
    """[1, 1, Hp, Wp], as the engines take it."""
    return standardise(frame, stride=package.manifest.stride)[None, None]


def _onnxruntime_runs(
    package: Package, info: EngineInfo, frame: NDArray[Any], rounds: int
) -> list[list[_Event]]:
    name = network_file(package, info.precision)
    with tempfile.TemporaryDirectory() as folder:
        session = cpu_session(
            package.read(name), f"{package.path}/{name}", threads=info.threads, profile_to=f"{folder}/layers"
        )
        feed = {session.get_inputs()[0].name: _standardised(package, frame)}
        for _ in range(_WARM_UP + rounds):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    seen: dict[str, int] = {}
    runs: list[list[_Event]] = [[] for _ in range(_WARM_UP + rounds)]
    for event in sorted((each for each in events if each["cat"] == "Node"), key=lambda each: each["ts"]):
        told = event["args"]
        if not event["name"].endswith("_kernel_time"):
            continue
        layer = event["name"].removesuffix("_kernel_time")
        seen[layer] = seen.get(layer, 0) + 1
        inputs, outputs = (_shapes(told.get(key, ())) for key in ("input_type_shape", "output_type_shape"))
        kind = told["op_name"]
        runs[seen[layer] - 1].append(
            _Event(layer, kind, kind, event["dur"] / 1e3, _cost(kind, inputs, outputs))
        )
    return runs[_WARM_UP:]


def _shapes(told: Iterable[Mapping[str, list[int]]]) -> list[Tensor]:
    return [(tuple(shape), kind) for each in told for kind, shape in each.items()]


def _openvino_runs(
    package: Package, info: EngineInfo, frame: NDArray[Any], rounds: int
) -> list[list[_Event]]:
    name, given = network_file(package, info.precision), _standardised(package, frame)
    compiled = openvino.compile_on_cpu(
        package.read(name),
        f"{package.path}/{name}",
        precision=info.precision,
        threads=info.threads,
        profiled_shape=given.shape,
    )
    costs = {}
    for operation in compiled.get_runtime_model().get_ordered_ops():
        told = operation.get_rt_info()["layerType"].value
        inputs, outputs = (
            [(tuple(port.get_shape()), port.get_element_type().get_type_name()) for port in ports]
            for ports in (operation.inputs(), operation.outputs())
        )
        costs[operation.get_friendly_name()] = _cost(str(told), inputs, outputs)
    request = compiled.create_infer_request()
    runs = []
    for _ in range(_WARM_UP + rounds):
        request.infer([given])
        runs.append(
            [
                _Event(
                    each.node_name,
                    each.node_type,
                    each.exec_type,
                    each.real_time.total_seconds() * 1e3,
                    costs.get(each.node_name, Cost()),
                )
                for each in request.get_profiling_info()
                if each.status == each.Status.EXECUTED
            ]
        )
    return runs[_WARM_UP:]


def _fused_runs(package: Package, info: EngineInfo, frame: NDArray[Any], rounds: int) -> list[list[_Event]]:
    return _by_run(launch_runs(package, info, _standardised(package, frame), _WARM_UP + rounds))


def _cuda_runs(package: Package, info: EngineInfo, frame: NDArray[Any], rounds: int) -> list[list[_Event]]:
    return _by_run(runtime_runs(package, info, frame, _WARM_UP + rounds))


def _by_run(launches: Sequence[LaunchRun]) -> list[list[_Event]]:
    return [
        [_Event(one.name, one.operation, one.kernel, one.ms[run], one.cost, one.clock) for one in launches]
        for run in range(_WARM_UP, len(launches[0].ms))
    ]


_RUNNERS: Final = {
    "onnxruntime": _onnxruntime_runs,
    "openvino": _openvino_runs,
    "torch-fused": _fused_runs,
    "cuda": _cuda_runs,
}


def _cost(kind: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Cost:
    """Every input and output once; of arithmetic only convolutions, which are nearly all of it."""
    operations = 0
    if kind in _CONVOLUTIONS and outputs:
        kernel = next((shape for shape, _ in inputs[1:] if len(shape) == 4), ())
        operations = 2 * int(np.prod(outputs[0][0])) * int(np.prod(kernel[1:])) if kernel else 0
    return Cost(sum(map(_bytes, inputs)), sum(map(_bytes, outputs)), operations)


def _bytes(tensor: Tensor) -> int:
    shape, kind = tensor
    return int(np.prod(shape)) * _ITEMSIZE.get(kind, 4)
