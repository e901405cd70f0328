# SPDX-License-Identifier: Apache-2.0
"""Which engines exist, which can run here, and choosing one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from pitviper.core.manifest import Package
from pitviper.sdk.engines import cuda, onnxruntime, openvino, torch, torch_fused
from pitviper.sdk.engines.base import Engine, EngineInfo, EngineStatus
from pitviper.sdk.errors import DeviceUnavailable, EngineUnavailable

__all__ = ["ENGINES", "engines", "open_engine", "sets_threads"]

_LOG = logging.getLogger("pitviper.engines")


class _Offer(NamedTuple):
    status: Callable[[], EngineStatus]
    build: Callable[..., Engine]
    precisions: tuple[str, ...]
    """What it can run, the one that ``auto`` takes first."""
    sets_threads: bool = False
    """Whether it can be told how many threads to use."""


ENGINES: Final[dict[str, _Offer]] = {
    "onnxruntime": _Offer(onnxruntime.status, onnxruntime.OnnxRuntimeEngine, onnxruntime.PRECISIONS, True),
    "openvino": _Offer(openvino.status, openvino.OpenVinoEngine, openvino.PRECISIONS, True),
    "torch": _Offer(torch.status, torch.TorchEngine, torch.PRECISIONS),
    "cuda": _Offer(cuda.status, cuda.CudaEngine, cuda.PRECISIONS),
    "torch-fused": _Offer(torch_fused.status, torch_fused.TorchFusedEngine, torch_fused.PRECISIONS),
}
"""Engines in the order that ``auto`` tries them."""

_ALIASES: Final = {"ort": "onnxruntime", "ov": "openvino"}
_PLANNED: Final = ("tensorrt",)


def engines() -> list[EngineStatus]:
    """Every engine in the order that ``auto`` tries them, usable or not, with the reason.

    Example:
        >>> [status.name for status in engines()]
        ['onnxruntime', 'openvino', 'torch', 'cuda', 'torch-fused']
    """
    return [offer.status() for offer in ENGINES.values()]


def open_engine(
    name: str,
    package: Package,
    *,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> tuple[Engine, EngineInfo]:
    """Open an engine by name, or the first that can run for ``auto``.

    Args:
        name: ``auto`` or a key of `ENGINES`.
        package: Verified weights package.
        device: ``auto``, or a device that the engine has.
        precision: ``auto`` takes the engine's first, which is fp32 for those on the CPU.
        threads: Threads of the network; None leaves it to the runtime.

    Returns:
        The engine, and its info with who chose it and what was passed over.

    Raises:
        EngineUnavailable: The engine, device or precision cannot be had here; an engine that was asked for by
            name is never replaced by another. `DeviceUnavailable` where it is the device.
        EngineError: The engine does not accept the network.
    """
    if name == "auto":
        return _first_usable(package, device, precision, threads)
    offer = _offer(name)
    chosen = _precision(_ALIASES.get(name, name), offer, precision)
    engine = offer.build(package, device=device, precision=chosen, threads=threads)
    return engine, engine.info


def sets_threads(name: str) -> bool:
    """Whether an engine can be told its threads; others run in one, or in those of torch's whole process."""
    return _offer(name).sets_threads


def _precision(name: str, offer: _Offer, precision: str) -> str:
    if precision == "auto":
        return offer.precisions[0]
    if precision not in offer.precisions:
        raise EngineUnavailable(
            f"engine {name!r} does not run precision {precision!r}; it offers {', '.join(offer.precisions)}. Leave "
            "precision='auto'"
        )
    return precision


def _offer(name: str) -> _Offer:
    key = _ALIASES.get(name, name)
    if key in ENGINES:
        return ENGINES[key]
    offered = ", ".join(["auto", *ENGINES])
    if name in _PLANNED:
        raise EngineUnavailable(f"engine {name!r} is not offered by this version yet; offered: {offered}")
    raise EngineUnavailable(f"unknown engine {name!r}; offered: {offered}")


def _first_usable(
    package: Package, device: str, precision: str, threads: int | None
) -> tuple[Engine, EngineInfo]:
    passed_over: list[str] = []
    for name, offer in ENGINES.items():
        status = offer.status()
        if not status.usable:
            passed_over.append(f"{name}: {status.reason}")
            continue
        try:
            chosen = _precision(name, offer, precision)
            engine = offer.build(package, device=device, precision=chosen, threads=threads)
        except EngineUnavailable as error:
            passed_over.append(f"{name}: {error}")
            continue
        info = replace(engine.info, chosen_by="auto", passed_over=tuple(passed_over))
        _LOG.info("engine %s %s on %s (chosen automatically)", info.name, info.version, info.device)
        return engine, info
    reasons = "; ".join(passed_over)
    if device in ("auto", "cpu"):
        raise EngineUnavailable(f"no engine can run here: {reasons}")
    raise DeviceUnavailable(f"no engine can run on device {device!r}: {reasons}")
