# SPDX-License-Identifier: Apache-2.0
"""What an export writes, before it is written, and every way to run it on this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pitviper.core.manifest import (
    DETECTOR_ONNX,
    NETWORK_INT8_ONNX,
    QUANTISATION,
    Package,
    PackageError,
    file_record,
)
from pitviper.sdk.engines import openvino
from pitviper.sdk.engines.onnxruntime import cpu_session
from pitviper.sdk.errors import MissingExtra, ModelError

if TYPE_CHECKING:
    from pitviper.sdk.quantise import Quantised
    from pitviper.sdk.verify import Comparison, MapOf

__all__ = ["detector_file", "plan_file", "ways_of_file", "ways_of_package", "ways_of_plan", "with_int8"]


def detector_file(package: Package, quantised: Quantised | None) -> bytes:
    """The whole detector as one ONNX model; with the 8-bit network in it where one is given.

    Raises:
        ModelError: The package does not hold it.
        MissingExtra: An 8-bit one is put together with onnx, which is not installed.
    """
    if quantised is None:
        try:
            return package.read(DETECTOR_ONNX)
        except PackageError as error:
            raise ModelError(str(error)) from error
    try:
        from pitviper.core.export import detector_onnx
    except ModuleNotFoundError as error:
        raise MissingExtra(f"int8 needs torch and onnx ({error}); pip install 'pitviper[export]'") from error
    return detector_onnx(quantised.content, stride=package.manifest.stride)


def plan_file(package: Package) -> bytes:
    """The plan of fused launches, as the C interface reads it.

    Raises:
        ModelError: The fused kernels do not run this network.
    """
    from pitviper.core.plan import PlanError, build_plan

    try:
        return build_plan(package).to_bytes()
    except PlanError as error:
        raise ModelError(str(error)) from error


def ways_of_plan(package: Package, threshold: float) -> dict[str, MapOf]:
    """The package's plan, run on the CPU in fp32 by the runtime that C programs use."""
    from pitviper.sdk.detector import Detector

    detector = Detector(package, engine="cuda", device="cpu", threshold=threshold, warmup=False)
    return {"plan on the CPU": lambda frame: detector.detect(frame).score_map}


def with_int8(package: Package, quantised: Quantised, comparisons: Sequence[Comparison] = ()) -> Package:
    """The package in memory with the 8-bit network, and how it was made and judged, among its files."""
    told = {**quantised.to_dict(), "comparisons": [each.to_dict() for each in comparisons]}
    files = {name: package.read(name) for name in package.manifest.files}
    files[NETWORK_INT8_ONNX] = quantised.content
    files[QUANTISATION] = (json.dumps(told, indent=2) + "\n").encode()
    records = {name: file_record(content) for name, content in files.items()}
    return Package(package.path, replace(package.manifest, files=records), files)


def ways_of_file(content: bytes, name: str) -> dict[str, MapOf]:
    """The engines here that run the one file, each as a function of a raw frame.

    Args:
        content: From `detector_file`.
        name: What errors call it.
    """
    session = cpu_session(content, name)
    given = session.get_inputs()[0].name
    ways: dict[str, MapOf] = {"onnxruntime": lambda frame: session.run(None, {given: _batch(frame)})[0][0, 0]}
    if openvino.status().usable:
        request = openvino.compile_on_cpu(content, name).create_infer_request()
        ways["openvino"] = lambda frame: request.infer([_batch(frame)])[0][0, 0]
    return ways


def ways_of_package(package: Package, precision: str, threshold: float) -> dict[str, MapOf]:
    """The engines here that run a package in ``precision``, each as a function of a raw frame."""
    from pitviper.sdk.detector import Detector

    ways: dict[str, MapOf] = {}
    for name in ("onnxruntime", *(["openvino"] if openvino.status().usable else [])):
        detector = Detector(package, engine=name, precision=precision, threshold=threshold, warmup=False)
        ways[name] = lambda frame, detector=detector: detector.detect(frame).score_map  # type: ignore[misc]
    return ways


def _batch(frame: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(frame, np.float32)[None, None]
