# SPDX-License-Identifier: Apache-2.0
"""Each operation on a GPU against PyTorch eager (cuDNN) and torch.compile (max-autotune), after its correctness gate.

    python benchmarks/kernels.py
    python benchmarks/kernels.py --check

Refuses to run without a GPU. ``--check`` runs the gate alone, at small sizes, on whatever is here: on the CPU with the
torch backend, and with Triton where TRITON_INTERPRET=1 lets its interpreter run the kernels. It times nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import kernel_cases
import torch
from kernel_cases import CASES, Case
from record import write_result
from whole_frame import whole_frames

from pitviper.kernels import BackendUnavailable, registry
from pitviper.sdk.stream_stats import Spread

WARM_UP, ROUNDS = 20, 100
COPY_BYTES = 2**30
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
    rates = {"gigabytes_per_s": _bandwidth(), "gigaoperations_per_s": _rate()}
    rows = [_measured(case, batch, rates) for batch in options.batch or (1, 8) for case in CASES]
    properties = torch.cuda.get_device_properties(0)
    device = {"name": properties.name, "memory_bytes": properties.total_memory, "cuda": torch.version.cuda}
    result = {"gpu": device, "rates": rates, "rounds": ROUNDS, "operations": rows, "frames": whole_frames()}
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
                    found = case.ours(tensors, name)
                except BackendUnavailable as error:
                    told.append(f"{case.name} {name} {dtype}: not run, {error}")
                    continue
                wrong = kernel_cases.worst_excess(found, case.reference(tensors), dtype)
                if wrong > 0:
                    raise SystemExit(
                        f"{case.name} on {name} in {dtype} is off by {wrong:.3g} more than it may be"
                    )
                told.append(f"{case.name} {name} {dtype}: agrees")
    return told


def _backends(case: Case, device: str) -> list[str]:
    usable = [each.name for each in registry.available_backends(case.operation) if each.available]
    on_cpu = device == "cpu" and not registry.interpreting()
    return [name for name in usable if not (on_cpu and name == "triton")]


def _measured(case: Case, batch: int, rates: dict[str, float]) -> dict[str, Any]:
    tensors = case.inputs(batch, 256, 320, device="cuda", dtype=torch.float16)
    compiled: Any = torch.compile(case.eager, mode="max-autotune-no-cudagraphs", dynamic=False)
    found = case.ours(tensors, "triton")
    wrong = kernel_cases.worst_excess(found, case.reference(tensors), torch.float16)
    if wrong > 0:
        raise SystemExit(
            f"{case.name} at full size is off by {wrong:.3g} more than it may be; nothing is published"
        )
    cost = case.cost(batch, 256, 320)
    floor = cost.floor_ms(**rates)
    calls: dict[str, Callable[[], object]] = {
        "triton": lambda: case.ours(tensors, "triton"),
        "torch_eager": lambda: case.eager(tensors),
        "torch_compile": lambda: compiled(tensors),
    }
    times = {name: spread.to_dict() for name, spread in _by_turns(calls).items()}
    share = {name: floor / time["median"] for name, time in times.items()}
    return {
        "operation": case.name,
        "batch": batch,
        "bytes": cost.bytes_moved,
        "operations": cost.operations,
        "floor_ms": floor,
        "ms": times,
        "share_of_floor": share,
    }


def _by_turns(calls: dict[str, Callable[[], object]]) -> dict[str, Spread]:
    """CUDA events around each call, the calls by turns, with a cold second-level cache."""
    flush = torch.empty(256 * 2**20, dtype=torch.int8, device="cuda")
    times: dict[str, list[float]] = {name: [] for name in calls}
    for round_ in range(WARM_UP + ROUNDS):
        for name, call in calls.items():
            flush.zero_()
            begun, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            begun.record()
            call()
            ended.record()
            ended.synchronize()
            if round_ >= WARM_UP:
                times[name].append(begun.elapsed_time(ended))
    return {name: Spread.of(values) for name, values in times.items()}


def _bandwidth() -> float:
    one = torch.empty(COPY_BYTES, dtype=torch.int8, device="cuda")
    two = torch.empty_like(one)
    return 2 * COPY_BYTES / _by_turns({"copy": lambda: two.copy_(one)})["copy"].median / 1e6


def _rate() -> float:
    one = torch.randn(MATRIX, MATRIX, dtype=torch.float16, device="cuda")
    return 2 * MATRIX**3 / _by_turns({"product": lambda: one @ one})["product"].median / 1e6


if __name__ == "__main__":
    main()
