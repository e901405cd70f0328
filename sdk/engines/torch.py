# SPDX-License-Identifier: Apache-2.0
"""PyTorch, on the CPU or on a CUDA device: the deployed network of the package. Needs the extra ``torch``."""

from __future__ import annotations

import re
from importlib import metadata, util
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.core.manifest import Package, PackageError
from pitviper.sdk.engines.base import EngineInfo, EngineStatus
from pitviper.sdk.errors import DeviceUnavailable, EngineError, EngineUnavailable, InputError

__all__ = ["PRECISIONS", "TorchEngine", "refuse_threads", "resolve_device", "status"]

NAME = "torch"
PRECISIONS: Final = ("fp32",)
_INSTALL = "pip install 'pitviper[torch]' (or the torch build of your board's vendor, with safetensors)"


def status() -> EngineStatus:
    """Whether this engine can run; does not import torch."""
    missing = [package for package in ("torch", "safetensors") if util.find_spec(package) is None]
    if missing:
        return EngineStatus(NAME, False, f"not installed: {' and '.join(missing)}; {_INSTALL}")
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        version = None
    return EngineStatus(NAME, True, "runs on the CPU, or on a CUDA device where torch sees one", version)


class TorchEngine:
    """`Engine` over the deployed network, float32, channels last.

    Global settings of torch (threads, TF32, cuDNN) are left as the application set them; they bound what
    ``fp32`` means on a CUDA device.

    Args:
        package: Verified weights package.
        device: ``auto`` (the first CUDA device of torch, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
        precision: One of `PRECISIONS`.
        threads: Must be None: torch counts its threads for the whole process.

    Raises:
        EngineUnavailable: torch is missing. DeviceUnavailable: It does not see the device.
        InputError: ``threads`` was given.
        EngineError: The weights do not fit the architecture that the package names.
    """

    def __init__(
        self, package: Package, *, device: str = "auto", precision: str = "fp32", threads: int | None = None
    ) -> None:
        refuse_threads(threads)
        found = status()
        if not found.usable:
            raise EngineUnavailable(f"engine {NAME!r} cannot run: {found.reason}")
        import torch

        from pitviper.core.weights import load_model

        self._torch: Any = torch
        self._device: Any = torch.device(resolve_device(NAME, device, torch))
        try:
            network: Any = load_model(package).deploy()
        except PackageError as error:
            raise EngineError(str(error)) from error
        self._network = network.to(device=self._device, memory_format=torch.channels_last)
        threads = torch.get_num_threads() if self._device.type == "cpu" else None
        self._info = EngineInfo(NAME, str(torch.__version__), str(self._device), precision, threads)

    @property
    def info(self) -> EngineInfo:
        """What it really runs on."""
        return self._info

    def run(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities float32 [N, 1, Hp, Wp] of standardised frames of the same shape. See `Engine.run`."""
        return self._inferred(frames, sigmoid=True)

    @property
    def gives_log_odds(self) -> bool:
        """Always."""
        return True

    def log_odds(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """What goes into the sigmoid, float32 [N, 1, Hp, Wp]."""
        return self._inferred(frames, sigmoid=False)

    def _inferred(self, frames: NDArray[np.float32], *, sigmoid: bool) -> NDArray[np.float32]:
        if self._network is None:
            raise EngineError("the engine is closed; make a new Detector")
        torch = self._torch
        try:
            with torch.inference_mode():
                given = torch.from_numpy(frames).to(self._device, memory_format=torch.channels_last)
                found = self._network(given)
                found = torch.sigmoid(found) if sigmoid else found
                values: NDArray[np.float32] = found.contiguous().cpu().numpy()
        except RuntimeError as error:
            raise EngineError(f"torch failed on frames {list(frames.shape)}: {error}") from error
        return values

    def close(self) -> None:
        """Let go of the network."""
        self._network = None


def refuse_threads(threads: int | None) -> None:
    """Raise InputError unless ``threads`` is None."""
    if threads is not None:
        raise InputError(
            f"threads={threads} cannot be set for one torch engine: torch counts threads for the whole "
            "process; call torch.set_num_threads() in the application instead"
        )


def resolve_device(engine: str, device: str, torch: Any) -> str:
    """``cpu`` or ``cuda:N`` for the device that was asked of an engine that runs in torch.

    Raises:
        EngineUnavailable: There is no device of that name. DeviceUnavailable: torch does not see it.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda:0" if count else "cpu"
    if device == "cpu":
        return device
    named = re.fullmatch(r"cuda(?::(\d+))?", device)
    if named is None:
        raise EngineUnavailable(
            f"engine {engine!r} knows no device {device!r}; it offers cpu, cuda and cuda:N"
        )
    index = int(named.group(1) or 0)
    if index >= count:
        raise DeviceUnavailable(
            f"device {device!r} was asked for and torch {torch.__version__} sees {count} CUDA devices; "
            "use device='cpu', or install a torch build for this GPU"
        )
    return f"cuda:{index}"
