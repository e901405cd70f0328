# SPDX-License-Identifier: Apache-2.0
"""Each operation on a GPU against PyTorch eager, torch.compile (max-autotune) and TensorRT, after a correctness gate.

    python benchmarks/kernels.py
    python benchmarks/kernels.py --check

TensorRT takes part where it is installed: torch_tensorrt for the operations, ONNX Runtime's provider for whole frames.
Refuses to run without a GPU. ``--check`` runs the gate alone, at small sizes, on whatever is here: on the CPU with the
torch backend, the host bodies of the CUDA kernels, and with Triton where TRITON_INTERPRET=1 lets its interpreter run
them. It times nothing.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from importlib import util
from typing import Any

import torch
from compiled_cases import COMPILED_CASES
from kernel_cases import TENSOR_CASES, Case, Results, Tensors
from record import write_result
from whole_frame import whole_frames

from pitviper.kernels import BackendUnavailable, native, registry
from pitviper.sdk.profiling.rates import Rates, torch_rates
from pitviper.sdk.profiling.state import machine_state
from pitviper.sdk.profiling.timers import timed, timer_for
from pitviper.sdk.stream_stats import Spread

CASES = (*TENSOR_CASES, *COMPILED_CASES)
WARM_UP, ROUNDS = 20, 100
COPY_BYTES, FLUSH_BYTES = 2**30, 256 * 2**20
MATRIX = 8192
SMALL = (1, 24, 40)
"""Batch, rows and columns of the gate on a CPU; Triton's interpreter runs some thousand pixels a second."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="run the correctness gate at small sizes only")
    parser.add_argument("--batch", type=int, action="append", help="repeatable (default: 1 and 8)")
    options = parser.parse_args()
    if options.check:
        print("\n".join(check("cuda" if torch.cuda.is_available() else "cpu")))
        return
    reason = no_gpu()
    if reason:
        raise SystemExit(f"{reason}; nothing was measured. --check runs the correctness gate without one")
    check("cuda")
    device = torch.device("cuda:0")
    rates = torch_rates(device, "fp16", timer_for(device), copy_bytes=COPY_BYTES, side=MATRIX)
    rows = [measured(case, batch, rates) for batch in options.batch or (1, 8) for case in CASES]
    properties = torch.cuda.get_device_properties(device)
    gpu = {"name": properties.name, "memory_bytes": properties.total_memory, "cuda": torch.version.cuda}
    about = {"gpu": gpu, "state": machine_state(), "rates": rates.to_dict(), "rounds": ROUNDS}
    result = {**about, "operations": rows, "frames": whole_frames()}
    print(write_result("kernels", result))


def no_gpu() -> str:
    """Why nothing can be timed here; empty where a GPU is at hand."""
    if torch.cuda.is_available():
        return ""
    built = torch.version.cuda
    return f"torch {torch.__version__} sees no CUDA device" + ("" if built else " and was built without CUDA")


def check(device: str) -> list[str]:
    """Compare every backend of every case with the definition in float32.

    Raises:
        SystemExit: An element differs by more than its rounding explains; no number is published then.
    """
    told = []
    for case in CASES:
        for name in _backends(case, device):
            for dtype in (torch.float16, torch.float32):
                tensors = case.inputs(*SMALL, device=device, dtype=dtype)
                try:
                    wrong = case.excess(tensors, name, dtype)
                except BackendUnavailable as error:
                    told.append(f"{case.name} {name} {dtype}: not run, {error}")
                    continue
                if wrong > 0:
                    raise SystemExit(
                        f"{case.name} on {name} in {dtype} is off by {wrong:.3g} more than it may be"
                    )
                told.append(f"{case.name} {name} {dtype}: agrees")
    return told


def _backends(case: Case, device: str) -> list[str]:
    if case.compiled:
        missing = native.cuda_missing_reason() if device == "cuda" else native.missing_reason()
        return [] if missing else ["cuda" if device == "cuda" else "host"]
    usable = [each.name for each in registry.available_backends(case.operation) if each.available]
    elsewhere = {"host"} if device == "cuda" else {"cuda"}
    if device == "cpu" and not registry.interpreting():
        elsewhere.add("triton")
    return [name for name in usable if name not in elsewhere]


def measured(
    case: Case, batch: int, rates: Rates, *, device: str = "cuda", size: tuple[int, int] = (256, 320)
) -> dict[str, Any]:
    """One row: the gate at this very size, then all ways by turns, each beside the floor at the rates.

    Raises:
        SystemExit: The gate.
    """
    tensors = case.inputs(batch, *size, device=device, dtype=torch.float16)
    ours = [name for name in _backends(case, device) if name != "torch"]
    for name in ours:
        wrong = case.excess(tensors, name, torch.float16)
        if wrong > 0:
            raise SystemExit(
                f"{case.name} by {name} at full size is off by {wrong:.3g} more than it may be; nothing is published"
            )
    cost = case.cost(batch, *size)
    floor = cost.floor_ms(
        gigabytes_per_s=rates.gigabytes_per_s, gigaoperations_per_s=rates.gigaoperations_per_s
    )
    others, absent = rivals(case)
    ways = {name: lambda name=name: case.ours(tensors, name) for name in ours}
    calls: dict[str, Callable[[], object]] = {
        **ways,
        **{name: lambda call=call: call(tensors) for name, call in others.items()},
    }
    found = _by_turns(calls, device)
    # To a nanosecond: `Spread.to_dict` rounds to a microsecond, of which some kernels take few.
    times = {name: {key: round(ms, 6) for key, ms in vars(spread).items()} for name, spread in found.items()}
    share = {name: floor / time["median"] for name, time in times.items()}
    return {
        "operation": case.name,
        "batch": batch,
        "rows_and_columns": list(size),
        "bytes": cost.bytes_moved,
        "operations": cost.operations,
        "floor_ms": floor,
        "ms": times,
        "share_of_floor": share,
        "not_measured": absent,
    }


def rivals(case: Case) -> tuple[dict[str, Callable[[Tensors], Results]], dict[str, str]]:
    """What PyTorch does instead by name, and why a way is not among it."""
    ways: dict[str, Any] = {"torch_eager": case.eager}
    if not case.compiles:
        reason = "a part of it runs on the host, as PyTorch has no such operator"
        return ways, {"torch_compile": reason, "tensorrt": reason}
    ways["torch_compile"] = torch.compile(case.eager, mode="max-autotune-no-cudagraphs", dynamic=False)
    if util.find_spec("torch_tensorrt") is None:
        return ways, {"tensorrt": "torch_tensorrt is not installed"}
    importlib.import_module("torch_tensorrt")  # which makes its backend known to torch.compile
    ways["tensorrt"] = torch.compile(case.eager, backend="torch_tensorrt", dynamic=False)
    return ways, {}


def _by_turns(calls: dict[str, Callable[[], object]], device: str) -> dict[str, Spread]:
    """CUDA events around each call, the calls by turns, with a cold second-level cache."""
    timer = timer_for(torch.device(device))
    flush = torch.empty(FLUSH_BYTES, dtype=torch.int8, device=device)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(WARM_UP + ROUNDS):
        for name, call in calls.items():
            flush.zero_()
            (taken,) = timed(timer, [call])
            if round_ >= WARM_UP:
                times[name].append(taken)
    return {name: Spread.of(values) for name, values in times.items()}


if __name__ == "__main__":
    main()
