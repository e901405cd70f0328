# SPDX-License-Identifier: Apache-2.0
"""PyTorch with the fused kernels: the package's network as a plan of Triton launches. Needs the extra ``triton``.

On ``cpu`` the same plan runs in the same memory by PyTorch's own operators, which proves it and is slow.
"""

from __future__ import annotations

from importlib import metadata, util
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.core.manifest import Package
from pitviper.core.plan import PlanError, build_plan
from pitviper.kernels import BackendUnavailable
from pitviper.sdk.engines.base import EngineInfo, EngineStatus
from pitviper.sdk.engines.plan_engine import PlanEngine
from pitviper.sdk.engines.torch import refuse_threads, resolve_device
from pitviper.sdk.errors import DeviceUnavailable, EngineError, EngineUnavailable

__all__ = ["PRECISIONS", "TorchFusedEngine", "dtype_of", "status"]

NAME: Final = "torch-fused"
PRECISIONS: Final = ("auto", "fp32", "fp16", "bf16")
"""``auto`` is fp16 on a CUDA device and fp32 on the CPU."""
_DTYPES: Final = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_INSTALL: Final = "pip install 'pitviper[triton]' (for Linux; or the builds of your board's vendor)"
_ELSEWHERE: Final = "; device='cpu' runs the same plan without a GPU, for proof and not for speed"


def status() -> EngineStatus:
    """Whether this engine can run; imports neither torch nor Triton, so it does not know of a GPU."""
    missing = [package for package in ("torch", "triton") if util.find_spec(package) is None]
    if missing:
        return EngineStatus(NAME, False, f"not installed: {' and '.join(missing)}; {_INSTALL}")
    return EngineStatus(NAME, True, "runs on a CUDA device, where torch sees one", _version())


def _version() -> str | None:
    try:
        return f"torch {metadata.version('torch')}, triton {metadata.version('triton')}"
    except metadata.PackageNotFoundError:
        return None


def dtype_of(precision: str) -> Any:
    """The ``torch.dtype`` of ``fp32``, ``fp16`` or ``bf16``."""
    import torch

    return getattr(torch, _DTYPES[precision])


class TorchFusedEngine(PlanEngine):
    """`Engine` over one `FusedNet`.

    Args:
        package: Verified weights package.
        device: ``auto`` (the first CUDA device of torch, and never the CPU), ``cuda``, ``cuda:N`` or ``cpu``.
        precision: One of `PRECISIONS`.
        threads: Must be None: torch counts its threads for the whole process.

    Raises:
        EngineUnavailable: torch or Triton is not there. DeviceUnavailable: The device is not.
        InputError: ``threads`` was given.
        EngineError: The network is none that the fused kernels run, or does not fit into memory.
    """

    def __init__(
        self, package: Package, *, device: str = "auto", precision: str = "auto", threads: int | None = None
    ) -> None:
        refuse_threads(threads)
        if util.find_spec("torch") is None:
            raise EngineUnavailable(f"engine {NAME!r} cannot run: not installed: torch; {_INSTALL}")
        import torch

        where = torch.device(resolve_device(NAME, device, torch))
        if device == "auto" and where.type == "cpu":
            raise DeviceUnavailable(
                f"engine {NAME!r} cannot run: torch {torch.__version__} sees no CUDA device{_ELSEWHERE}"
            )
        on_gpu = where.type == "cuda"
        runs = ("fp16" if on_gpu else "fp32") if precision == "auto" else precision
        from pitviper.sdk.engines.fused_net import FusedNet

        try:
            self._net: Any = FusedNet(
                build_plan(package),
                device=where,
                dtype=dtype_of(runs),
                backend="triton" if on_gpu else "torch",
            )
        except PlanError as error:
            raise EngineError(str(error)) from error
        except BackendUnavailable as error:
            raise EngineUnavailable(f"engine {NAME!r} cannot run: {error}{_ELSEWHERE}") from error
        except RuntimeError as error:
            raise EngineError(f"{package.path}: torch failed on {where}: {error}") from error
        threads = None if on_gpu else torch.get_num_threads()
        self._info = EngineInfo(NAME, _version() or str(torch.__version__), str(where), runs, threads)

    def _map(self, frames: NDArray[np.float32], *, log_odds: bool) -> NDArray[np.float32]:
        if self._net is None:
            raise EngineError("the engine is closed; make a new Detector")
        try:
            found: NDArray[np.float32] = self._net.run(frames, log_odds=log_odds)
        except RuntimeError as error:
            raise EngineError(f"torch failed on frames {list(frames.shape)}: {error}") from error
        return found

    def close(self) -> None:
        """Let go of the network."""
        if self._net is not None:
            self._net.close()
            self._net = None
