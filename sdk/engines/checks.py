# SPDX-License-Identifier: Apache-2.0
"""What engines check of the device and precision that were asked for."""

from __future__ import annotations

from pitviper.core.manifest import NETWORK_INT8_ONNX, NETWORK_ONNX, Package
from pitviper.sdk.errors import EngineUnavailable

__all__ = ["network_file", "require_cpu"]


def require_cpu(engine: str, device: str) -> None:
    """For engines that run on the CPU only.

    Raises:
        EngineUnavailable: ``device`` is neither ``auto`` nor ``cpu``.
    """
    if device not in ("auto", "cpu"):
        raise EngineUnavailable(
            f"engine {engine!r} does not run on device {device!r}; it offers cpu. Leave device='auto'"
        )


def network_file(package: Package, precision: str) -> str:
    """Name of the ONNX file that engines run in ``precision``.

    Raises:
        EngineUnavailable: ``int8``, and the package holds no network that was quantised.
    """
    if precision != "int8":
        return NETWORK_ONNX
    if NETWORK_INT8_ONNX not in package.manifest.files:
        raise EngineUnavailable(
            f"precision 'int8' cannot be had: package {package.manifest.name!r} holds no {NETWORK_INT8_ONNX}; make one "
            "that does with pitviper export FOLDER --format package --precision int8 --calibrate FRAMES --data SET"
        )
    return NETWORK_INT8_ONNX
