# SPDX-License-Identifier: Apache-2.0
"""The project's own runtime, without torch: the package's network as a plan of fused launches.

It runs on a CUDA device. On ``host`` the bodies of the same kernels run on the CPU, which proves them and is slow; on
``cpu`` the same plan runs in vector code, in one thread.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pitviper.core.manifest import Package
from pitviper.core.plan import PlanError, build_plan
from pitviper.kernels import native
from pitviper.kernels.runtime import FusedRuntime, RuntimeFailure, runtime_missing
from pitviper.sdk.engines.base import EngineInfo, EngineStatus
from pitviper.sdk.engines.plan_engine import PlanEngine
from pitviper.sdk.errors import DeviceUnavailable, EngineError, EngineUnavailable

__all__ = ["PRECISIONS", "CudaEngine", "status"]

NAME: Final = "cuda"
PRECISIONS: Final = ("auto", "fp32", "fp16")
"""``auto`` is fp16 on a CUDA device and fp32 elsewhere."""
_HALF: Final = {"auto": None, "fp32": False, "fp16": True}
_ELSEWHERE: Final = "; device='cpu' and device='host' run the same plan without a GPU"


def status() -> EngineStatus:
    """Whether this engine can run on a CUDA device here; ``cpu`` and ``host`` are there in any case."""
    reason = runtime_missing() or native.cuda_missing_reason()
    if reason:
        return EngineStatus(NAME, False, f"no CUDA device can be used: {reason}{_ELSEWHERE}", _version())
    return EngineStatus(NAME, True, "runs on a CUDA device", _version())


def _version() -> str | None:
    return None if native.missing_reason() else str(native.load().__version__)


class CudaEngine(PlanEngine):
    """`Engine` over one `FusedRuntime`.

    Args:
        package: Verified weights package.
        device: ``auto`` or ``cuda`` (both ``cuda:0``), ``cuda:N``, ``cpu`` or ``host``.
        precision: One of `PRECISIONS`; ``cpu`` runs fp32 alone.
        threads: Must be None or 1: ``cpu`` and ``host`` run in the calling thread.

    Raises:
        EngineUnavailable: The compiled module is not there, or cannot do what was asked for. DeviceUnavailable: The
            device is not there.
        EngineError: The network is none that the fused kernels run.
    """

    def __init__(
        self, package: Package, *, device: str = "auto", precision: str = "auto", threads: int | None = None
    ) -> None:
        if threads not in (None, 1):
            raise EngineUnavailable(
                f"engine {NAME!r} runs in one thread, got threads={threads}; leave threads=None"
            )
        where = "cuda:0" if device in ("auto", "cuda") else device
        if where not in ("cpu", "host") and not re.fullmatch(r"cuda:\d{1,3}", where):
            raise EngineUnavailable(
                f"engine {NAME!r} does not run on device {device!r}; it offers cuda, cuda:N, cpu and host"
            )
        if runtime_missing():
            raise EngineUnavailable(f"engine {NAME!r} cannot run: {runtime_missing()}")
        try:
            self._runtime = FusedRuntime(build_plan(package).to_bytes(), device=where, half=_HALF[precision])
        except PlanError as error:
            raise EngineError(str(error)) from error
        except RuntimeFailure as error:
            if error.status in ("PV_DEVICE", "PV_ARGUMENT"):
                hint = _ELSEWHERE if where.startswith("cuda") else ""
                kind = DeviceUnavailable if error.status == "PV_DEVICE" else EngineUnavailable
                raise kind(f"engine {NAME!r} cannot run: {error}{hint}") from error
            raise EngineError(f"{package.path}: {error}") from error
        found = self._runtime.info
        self._info = EngineInfo(
            NAME,
            _version() or "unknown",
            found["device"].split()[0],  # behind it the GPU's name
            "fp16" if found["half"] else "fp32",
            None if where.startswith("cuda") else 1,
        )

    def _map(self, frames: NDArray[np.float32], *, log_odds: bool) -> NDArray[np.float32]:
        try:
            return self._runtime.network(frames, log_odds=log_odds)
        except RuntimeFailure as error:
            if error.status == "PV_CLOSED":
                raise EngineError("the engine is closed; make a new Detector") from error
            raise EngineError(f"the runtime failed on frames {list(frames.shape)}: {error}") from error

    def close(self) -> None:
        """Let go of the network."""
        self._runtime.close()
