# SPDX-License-Identifier: Apache-2.0
"""OpenVINO on the CPU: the network in the precision that was asked for. Needs the extra ``openvino``."""

from __future__ import annotations

import importlib
import sys
from functools import cached_property
from importlib import metadata, util
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.core.manifest import Package
from pitviper.sdk.engines.base import EngineInfo, EngineStatus
from pitviper.sdk.engines.checks import network_file, require_cpu
from pitviper.sdk.engines.sigmoid import log_odds_missing, with_log_odds
from pitviper.sdk.errors import EngineError, EngineUnavailable

__all__ = ["PRECISIONS", "OpenVinoEngine", "compile_on_cpu", "status"]

NAME = "openvino"
PRECISIONS: Final = ("fp32", "bf16", "int8")
_INSTALL: Final = "pip install 'pitviper[openvino]'"
_HINTS: Final = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""What is asked of the plugin for the layers that the graph leaves open. Its own default is bf16 wherever the processor
has AMX or AVX512_BF16, which nobody asked for."""
_RUNS: Final = {"f32": "fp32", "bf16": "bf16", "u8": "int8", "i8": "int8"}
"""The plugin's names of what a convolution really runs in."""


def status() -> EngineStatus:
    """Whether this engine can run; does not import OpenVINO."""
    if util.find_spec("openvino") is None:
        return EngineStatus(NAME, False, f"not installed: openvino; {_INSTALL}")
    return EngineStatus(
        NAME, True, "runs on the CPU, in fp32, or in bf16 where the processor has it", _version()
    )


def _version() -> str | None:
    try:
        return metadata.version("openvino")
    except metadata.PackageNotFoundError:
        # A vendor's build installs the same module under another distribution name.
        return None


def load_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which otherwise sends an event to the network at import.

    OpenVINO runs without the package ``openvino_telemetry`` by design, and finds it absent while it is imported
    here. An application that has imported OpenVINO itself before has decided for itself.

    Raises:
        EngineUnavailable: OpenVINO is missing or cannot be loaded.
    """
    module = "openvino_telemetry"
    blocked = "openvino" not in sys.modules and module not in sys.modules
    if blocked:
        sys.modules[module] = None  # type: ignore[assignment]  # what the import system takes for "absent"
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise EngineUnavailable(f"engine {NAME!r} cannot run: {error}; {_INSTALL}") from error
    finally:
        if blocked:
            del sys.modules[module]


def compile_on_cpu(
    content: bytes,
    name: str,
    *,
    precision: str = "fp32",
    threads: int | None = None,
    profiled_shape: tuple[int, ...] | None = None,
) -> Any:
    """An ``openvino.CompiledModel`` of the CPU plugin, set up for one frame at a time.

    Its threads are not pinned to cores: a detector shares its machine with capture and sinks.

    Args:
        content: The ONNX model.
        name: What errors call it.
        precision: One of `PRECISIONS`; what it really runs in is for the caller to read back.
        threads: Threads of the plugin; None leaves the choice to it (the physical cores).
        profiled_shape: Compile for inputs of this shape only, and keep a time for each layer.

    Raises:
        EngineUnavailable: OpenVINO is missing.
        EngineError: OpenVINO does not accept the model.
    """
    core = load_openvino().Core()
    try:
        model = core.read_model(content)
        if profiled_shape is not None:
            model.reshape(list(profiled_shape))
        return _compiled(core, model, precision, threads, profiling=profiled_shape is not None)
    except Exception as error:
        # OpenVINO raises RuntimeError, but its bindings raise their own types for arguments.
        raise EngineError(f"{name}: OpenVINO refuses it: {error}") from error


def compile_product(side: int, *, precision: str, threads: int | None) -> Any:
    """An ``openvino.CompiledModel`` of a product of two square matrices, to find out how fast arithmetic is."""
    openvino = load_openvino()
    operators: Any = importlib.import_module("openvino.opset13")
    given = operators.parameter([side, side], np.float32)
    product = operators.matmul(
        given, operators.constant(np.full((side, side), 0.5, np.float32)), False, False
    )
    return _compiled(
        openvino.Core(), openvino.Model([product], [given], "product"), precision, threads, profiling=False
    )


def _compiled(core: Any, model: Any, precision: str, threads: int | None, *, profiling: bool) -> Any:
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,
        "PERF_COUNT": profiling,
    }
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    return core.compile_model(model, "CPU", settings)


def _capabilities() -> list[str]:
    """What the processor can multiply, in OpenVINO's names: BF16, FP32, INT8 and others."""
    return list(load_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


class OpenVinoEngine:
    """`Engine` over one compiled model of the CPU plugin.

    Args:
        package: Verified weights package.
        device: ``auto`` or ``cpu``.
        precision: One of `PRECISIONS`: ``bf16`` where the processor has it, ``int8`` for a package with such a network.
        threads: Threads of the plugin; None leaves the choice to it (the physical cores).

    Raises:
        EngineUnavailable: OpenVINO is missing, or the device or precision cannot be had here.
        EngineError: OpenVINO does not accept the network.
    """

    def __init__(
        self,
        package: Package,
        *,
        device: str = "auto",
        precision: str = "fp32",
        threads: int | None = None,
    ) -> None:
        require_cpu(NAME, device)
        name = network_file(package, precision)
        if precision == "bf16" and "BF16" not in _capabilities():
            raise EngineUnavailable(
                "precision 'bf16' cannot be had: OpenVINO finds no bf16 arithmetic in this processor; leave "
                "precision='auto' for fp32"
            )
        compiled = compile_on_cpu(
            package.read(name),
            f"{package.path}/{name}",
            precision=precision,
            threads=threads,
        )
        running = _precision_that_runs(compiled)
        if running != precision:
            raise EngineUnavailable(
                f"precision {precision!r} was asked of OpenVINO, but its convolutions run in {running}; leave "
                "precision='auto', or take engine='onnxruntime'"
            )
        self._request: Any = compiled.create_infer_request()
        self._second: Any = None
        self._package, self._file, self._threads = package, name, threads
        used = int(compiled.get_property("INFERENCE_NUM_THREADS"))
        self._info = EngineInfo(NAME, _version() or "unknown", "cpu", running, used)

    @property
    def info(self) -> EngineInfo:
        """What it really runs on, as the compiled model says and not as it was asked for."""
        return self._info

    def run(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities float32 [N, 1, Hp, Wp] of standardised frames of the same shape. See `Engine.run`."""
        if self._request is None:
            raise EngineError("the engine is closed; make a new Detector")
        try:
            found = self._request.infer([frames], share_inputs=True)
        except Exception as error:
            raise EngineError(f"OpenVINO failed on frames {list(frames.shape)}: {error}") from error
        probability: NDArray[np.float32] = found[0]
        return probability

    @cached_property
    def gives_log_odds(self) -> bool:
        """Whether the network ends in one sigmoid of float32."""
        return not log_odds_missing(self._package.read(self._file))

    def log_odds(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """What goes into the sigmoid, float32 [N, 1, Hp, Wp]. The first call compiles the network again for it."""
        if self._request is None:
            raise EngineError("the engine is closed; make a new Detector")
        if self._second is None:
            name = f"{self._package.path}/{self._file}"
            content = with_log_odds(self._package.read(self._file), name)
            compiled = compile_on_cpu(content, name, precision=self._info.precision, threads=self._threads)
            self._second = compiled.create_infer_request()
        try:
            found = self._second.infer([frames], share_inputs=True)
        except Exception as error:
            raise EngineError(f"OpenVINO failed on frames {list(frames.shape)}: {error}") from error
        values: NDArray[np.float32] = found[1]
        return values

    def close(self) -> None:
        """Let go of the network."""
        self._request = self._second = None


def _precision_that_runs(compiled: Any) -> str:
    """What most multiplications run in, read from the compiled graph: fp32, bf16 or int8.

    A network of one precision keeps a few convolutions in another on purpose (the first and the last of an int8
    network), so the majority names it.
    """
    votes: dict[str, int] = {}
    for operation in compiled.get_runtime_model().get_ordered_ops():
        told = operation.get_rt_info()
        if str(told["layerType"].value) != "Convolution":
            continue
        raw = str(told["runtimePrecision"].value)
        votes[_RUNS.get(raw, raw)] = votes.get(_RUNS.get(raw, raw), 0) + 1
    return max(votes, key=lambda name: votes[name]) if votes else "fp32"
