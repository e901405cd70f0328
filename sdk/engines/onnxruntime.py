# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime on the CPU: ``network.onnx`` of the package, or its 8-bit form."""

from __future__ import annotations

from functools import cached_property
from importlib import metadata, util
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.core.manifest import Package
from pitviper.sdk.engines.base import EngineInfo, EngineStatus
from pitviper.sdk.engines.checks import network_file, require_cpu
from pitviper.sdk.engines.sigmoid import log_odds_missing, with_log_odds
from pitviper.sdk.errors import EngineError, EngineUnavailable

__all__ = ["PRECISIONS", "OnnxRuntimeEngine", "status"]

NAME = "onnxruntime"
PRECISIONS: Final = ("fp32", "int8")


def status() -> EngineStatus:
    """Whether this engine can run; does not import ONNX Runtime."""
    if util.find_spec("onnxruntime") is None:
        return EngineStatus(NAME, False, "the package onnxruntime is not installed; pip install onnxruntime")
    return EngineStatus(NAME, True, "runs on the CPU", _version())


def _version() -> str | None:
    try:
        return metadata.version("onnxruntime")
    except metadata.PackageNotFoundError:
        # onnxruntime-gpu and vendor builds install the same module under another distribution name.
        return None


def cpu_session(
    content: bytes, name: str, *, threads: int | None = None, profile_to: str | None = None
) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU.

    Its threads sleep between frames. ONNX Runtime lets them spin by default, which makes a lone network some
    percent faster and takes a whole core from the capture, the sinks or another network beside it.

    Args:
        content: The ONNX model.
        name: What errors call it.
        threads: Threads inside one operator; None leaves the choice to ONNX Runtime (the physical cores).
        profile_to: Begin of the path of a file with a time for each operator; None writes none.

    Raises:
        EngineUnavailable: ONNX Runtime is missing.
        EngineError: ONNX Runtime does not accept the model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineUnavailable(f"engine {NAME!r} cannot run: {error}; pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if threads is not None:
        options.intra_op_num_threads = threads
    if profile_to is not None:
        options.enable_profiling = True
        options.profile_file_prefix = profile_to
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # ONNX Runtime raises many private exception types with no common base.
        raise EngineError(f"{name}: ONNX Runtime refuses it: {error}") from error


class OnnxRuntimeEngine:
    """`Engine` over one ``InferenceSession``.

    The session's arena keeps the memory of the largest frame. Sizes that come and go do not add up; asking the
    arena to shrink when the size changes made it larger and slower.

    Args:
        package: Verified weights package.
        device: ``auto`` or ``cpu``.
        precision: One of `PRECISIONS`: ``int8`` for a package with such a network.
        threads: Threads inside one operator; None leaves the choice to ONNX Runtime (the physical cores).

    Raises:
        EngineUnavailable: ONNX Runtime is missing, or the device or precision cannot be had here.
        EngineError: ONNX Runtime does not accept the network.
    """

    def __init__(
        self, package: Package, *, device: str = "auto", precision: str = "fp32", threads: int | None = None
    ) -> None:
        require_cpu(NAME, device)
        name = network_file(package, precision)
        self._session: Any = cpu_session(package.read(name), f"{package.path}/{name}", threads=threads)
        self._package, self._file, self._threads = package, name, threads
        self._second: Any = None
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name
        self._info = EngineInfo(NAME, _version() or "unknown", "cpu", precision, threads)

    @property
    def info(self) -> EngineInfo:
        """What it really runs on."""
        return self._info

    def run(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities float32 [N, 1, Hp, Wp] of standardised frames of the same shape. See `Engine.run`."""
        if self._session is None:
            raise EngineError("the engine is closed; make a new Detector")
        try:
            outputs = self._session.run([self._output], {self._input: frames})
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed on frames {list(frames.shape)}: {error}") from error
        probability: NDArray[np.float32] = outputs[0]
        return probability

    @cached_property
    def gives_log_odds(self) -> bool:
        """Whether the network ends in one sigmoid of float32."""
        return not log_odds_missing(self._package.read(self._file))

    def log_odds(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """What goes into the sigmoid, float32 [N, 1, Hp, Wp]. The first call opens a second session for it."""
        if self._session is None:
            raise EngineError("the engine is closed; make a new Detector")
        if self._second is None:
            name = f"{self._package.path}/{self._file}"
            content = with_log_odds(self._package.read(self._file), name)
            self._second = cpu_session(content, name, threads=self._threads)
        try:
            outputs = self._second.run([self._second.get_outputs()[1].name], {self._input: frames})
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed on frames {list(frames.shape)}: {error}") from error
        found: NDArray[np.float32] = outputs[0]
        return found

    def close(self) -> None:
        """Let go of the sessions."""
        self._session = self._second = None
