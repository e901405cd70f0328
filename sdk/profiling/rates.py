# SPDX-License-Identifier: Apache-2.0
"""What this machine can do at most, by a short probe: bytes to and from memory, and arithmetic."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import util
from typing import Any, Final

import numpy as np

from pitviper.sdk.profiling.timers import Timer, timed, timer_for

__all__ = ["Rates", "measure_rates", "rates_missing", "torch_rates"]

_COPY_BYTES: Final = 128 * 2**20
"""Of both arrays together, beyond the last cache of most processors of this field."""
_SIDE: Final = 1024
_TRIES: Final = 5
_DEVICE_BYTES: Final = 256 * 2**20
"""Some times the cache of the largest GPU, and in the memory of the smallest board."""
_DEVICE_SIDE: Final = 4096


@dataclass(frozen=True)
class Rates:
    """Bandwidth in 10^9 bytes and arithmetic in 10^9 operations a second, and where the numbers are from."""

    gigabytes_per_s: float
    gigaoperations_per_s: float
    how: str

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, safe for JSON."""
        return dict(vars(self))


def rates_missing(device: str) -> str:
    """Why the rates of a device cannot be measured here; the empty string when they can."""
    if not device.startswith("cuda"):
        return ""
    if util.find_spec("torch") is None:
        return "torch, which measures a GPU, is not installed"
    import torch

    return "" if torch.cuda.is_available() else f"torch {torch.__version__}, which measures a GPU, sees none"


def measure_rates(
    threads: int | None = None,
    *,
    precision: str = "fp32",
    engine: str = "onnxruntime",
    device: str = "cpu",
) -> Rates:
    """The best of five tries of each probe; takes about half a second.

    Memory: a copy between two arrays of 64 MiB, a part for each thread; a read and a write each count once.
    Arithmetic: a product of two 1024 x 1024 matrices in OpenVINO in the engine's precision where that is the engine,
    and else in NumPy in float32, whose library chooses its threads itself. On a CUDA device, which torch has to see,
    both by torch with CUDA events around them, with 256 MiB and 4096 x 4096 matrices in the engine's precision.

    Args:
        threads: Threads of the copy and of OpenVINO; None: 1 and its own choice.
        precision: Of the matrix product, where OpenVINO runs it: ``fp32`` or ``bf16``.
        engine: Whose layers the rates are for.
        device: Where it runs: ``cpu``, or ``cuda:N``.
    """
    if device.startswith("cuda"):
        import torch

        where = torch.device(device)
        return torch_rates(where, precision, timer_for(where))
    memory = _bandwidth(threads or 1)
    if engine == "openvino" and precision in ("fp32", "bf16"):
        arithmetic, told = _openvino_rate(threads, precision), f"OpenVINO in {precision}"
    else:
        arithmetic, told = _numpy_rate(), "NumPy in float32"
    how = f"measured: copy of 64 MiB in {threads or 1} thread(s); product of 1024x1024 matrices by {told}"
    return Rates(memory, arithmetic, how)


def torch_rates(
    device: Any, precision: str, timer: Timer, *, copy_bytes: int = _DEVICE_BYTES, side: int = _DEVICE_SIDE
) -> Rates:
    """The same of a device of torch.

    Args:
        device: Where.
        precision: Of the matrix product: ``fp32``, ``fp16`` or ``bf16``.
        timer: Of that device.
        copy_bytes: Of each of the two tensors.
        side: Of the matrices.
    """
    import torch

    from pitviper.sdk.engines.torch_fused import dtype_of

    one, two = (torch.ones(copy_bytes // 4, device=device) for _ in range(2))
    left, right = (torch.full((side, side), 0.5, device=device, dtype=dtype_of(precision)) for _ in range(2))
    copies = timed(timer, [lambda: two.copy_(one)] * _TRIES)
    products = timed(timer, [lambda: left @ right] * _TRIES)
    product = f"product of {side}x{side} matrices by torch in {precision}"
    how = f"measured on {device}: copy of {copy_bytes >> 20} MiB; {product}"
    return Rates(2 * copy_bytes / min(copies) / 1e6, 2 * side**3 / min(products) / 1e6, how)


def _bandwidth(threads: int) -> float:
    count = _COPY_BYTES // 16 // threads
    pairs = [(np.ones(count), np.zeros(count)) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        seconds = _best(lambda: list(pool.map(lambda pair: np.copyto(pair[1], pair[0]), pairs)))
    return 16 * count * threads / seconds / 1e9


def _numpy_rate() -> float:
    one, two = (np.full((_SIDE, _SIDE), 0.5, np.float32) for _ in range(2))
    out = np.empty_like(one)
    return 2 * _SIDE**3 / _best(lambda: np.matmul(one, two, out=out)) / 1e9


def _openvino_rate(threads: int | None, precision: str) -> float:
    from pitviper.sdk.engines.openvino import compile_product

    request = compile_product(_SIDE, precision=precision, threads=threads).create_infer_request()
    given = np.full((_SIDE, _SIDE), 0.5, np.float32)
    return 2 * _SIDE**3 / _best(lambda: request.infer([given], share_inputs=True, share_outputs=True)) / 1e9


def _best(call: Callable[[], object]) -> float:
    times = []
    for _ in range(_TRIES):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return min(times)
