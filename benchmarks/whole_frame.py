# SPDX-License-Identifier: Apache-2.0
"""A whole frame on a GPU, from uint16 in host memory to targets: this package's engines, torch.compile, and TensorRT.

Used by `kernels.py`. What torch does around the network is written as its users would: standardisation in tensors, one
graph by max-autotune with CUDA graphs, the map copied back, components on the host.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from pitviper.core.manifest import NETWORK_ONNX, Package
from pitviper.core.weights import load_model
from pitviper.kernels import extract_targets
from pitviper.kernels.standardise.reference import BOX, DEVIATION_WEIGHT, RESIDUAL_WEIGHT
from pitviper.sdk import Detector, EngineError, engines, list_models, open_model
from pitviper.sdk.profile import benchmark_frame
from pitviper.sdk.stream_stats import Spread

SHAPE = (512, 640)
WARM_UP, ROUNDS = 20, 300
MAP_TOLERANCE = 2e-2
"""Largest difference of one probability on the synthetic frame, where maps in fp16 move a logit by some hundredths."""

Way = Callable[[NDArray[np.uint16]], NDArray[np.float32]]


def whole_frames() -> dict[str, Any]:
    """Milliseconds of a frame by model and way, each after its map agreed with ONNX Runtime's; or why there is none."""
    return {name: _one_model(open_model(name)) for name in list_models()}


def _one_model(package: Package) -> dict[str, Any]:
    frame = benchmark_frame(SHAPE)
    told: dict[str, Any] = {}
    with ExitStack() as stack:
        reference = stack.enter_context(Detector(package, engine="onnxruntime"))
        expected = reference.detect(frame).score_map
        ways: dict[str, Way] = {}
        for status in engines():
            if status.name not in ("cuda", "torch", "torch-fused"):
                continue
            try:
                detector = stack.enter_context(Detector(package, engine=status.name, device="cuda"))
            except EngineError as error:
                told[f"engine {status.name}"] = f"not measured: {error}"
                continue
            ways[f"engine {status.name}"] = lambda given, one=detector: one.detect(given).score_map
        ways["torch.compile"] = compiled_frame(package, "cuda", reference.threshold)
        try:
            ways["TensorRT"] = tensorrt_frame(package, reference.threshold)
        except EngineError as error:
            told["TensorRT"] = f"not measured: {error}"
        for name, way in ways.items():
            gap = float(np.abs(way(frame) - expected).max())
            if not gap <= MAP_TOLERANCE:
                raise SystemExit(
                    f"{package.manifest.name} by {name} is off by {gap:.3g}; nothing is published"
                )
        told.update({name: spread.to_dict() for name, spread in _by_turns(ways, frame).items()})
    return told


def compiled_frame(package: Package, device: str, threshold: float, *, compiling: bool = True) -> Way:
    """The deployed network in half precision with standardisation, as one graph; components on the host.

    Args:
        package: Verified weights package.
        device: ``cuda`` for half precision, ``cpu`` for float32.
        threshold: Probability that a pixel has to exceed.
        compiling: False runs it eagerly, for the test of what it computes.
    """
    dtype = torch.float16 if device == "cuda" else torch.float32
    network: Any = load_model(package).deploy().to(device, dtype, memory_format=torch.channels_last)
    stride = package.manifest.stride

    def probability(counts: Tensor) -> Tensor:
        return torch.sigmoid(network(standardised(counts, stride).to(dtype)).float())

    call: Any = torch.compile(probability, mode="max-autotune", dynamic=False) if compiling else probability

    def run(frame: NDArray[np.uint16]) -> NDArray[np.float32]:
        with torch.inference_mode():
            counts = torch.from_numpy(frame.view(np.int16)).to(device, non_blocking=True)
            found = call(counts[None])[0, 0, : frame.shape[0], : frame.shape[1]].cpu().numpy()
        extract_targets(np.ascontiguousarray(found), frame, threshold)
        return np.asarray(found, np.float32)

    return run


def standardised(counts: Tensor, stride: int) -> Tensor:
    """`standardise` of uint16 frames [B, H, W], given as the int16 of the same bits, in float32: [B, 1, Hp, Wp]."""
    frame = torch.bitwise_and(counts.int(), 0xFFFF).float()[:, None]
    each = {"dim": (2, 3), "keepdim": True}
    centred = frame - frame.mean(**each)
    centred = centred - centred.mean(**each)
    half = BOX // 2
    local = F.avg_pool2d(F.pad(centred, (half,) * 4, mode="reflect"), BOX, 1)
    residual = centred - local
    scale = RESIDUAL_WEIGHT * residual.std(correction=0, **each) + DEVIATION_WEIGHT * centred.std(
        correction=0, **each
    )
    height, width = counts.shape[1:]
    return F.pad(centred / scale, (0, -width % stride, 0, -height % stride), mode="reflect")


def tensorrt_frame(package: Package, threshold: float) -> Way:
    """ONNX Runtime's TensorRT provider in fp16 between our own operations on the host.

    Raises:
        EngineError: The provider is not there, or did not take the network.
    """
    import onnxruntime

    from pitviper.kernels import standardise

    name = "TensorrtExecutionProvider"
    if name not in onnxruntime.get_available_providers():
        raise EngineError(f"this onnxruntime has no {name}")
    session = onnxruntime.InferenceSession(
        package.read(NETWORK_ONNX), providers=[(name, {"trt_fp16_enable": True}), "CPUExecutionProvider"]
    )
    if session.get_providers()[0] != name:
        raise EngineError(f"{name} is listed, but did not take the network")
    given = session.get_inputs()[0].name
    stride = package.manifest.stride

    def run(frame: NDArray[np.uint16]) -> NDArray[np.float32]:
        found = session.run(None, {given: standardise(frame, stride=stride)[None, None]})[0][0, 0]
        probability = np.ascontiguousarray(found[: frame.shape[0], : frame.shape[1]])
        extract_targets(probability, frame, threshold)
        return probability

    return run


def _by_turns(ways: dict[str, Way], frame: NDArray[np.uint16]) -> dict[str, Spread]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(WARM_UP + ROUNDS):
        for name, way in ways.items():
            begun = time.perf_counter_ns()
            way(frame)
            if round_ >= WARM_UP:
                times[name].append((time.perf_counter_ns() - begun) / 1e6)
    return {name: Spread.of(values) for name, values in times.items()}
