# SPDX-License-Identifier: Apache-2.0
"""python -m pitviper.kernels.aot: compile every Triton kernel without a GPU and print what the compiler says."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pitviper.kernels.aot.compiler import compile_all, variants
from pitviper.kernels.aot.limits import ARCHITECTURES
from pitviper.kernels.aot.report import native_resources, native_rows, table, triton_rows
from pitviper.kernels.aot.resources import ToolMissing, read_resources
from pitviper.kernels.native import NativeUnavailable


def build(
    capabilities: Sequence[int],
    *,
    quick: bool = False,
    operation: str | None = None,
    binaries: Sequence[Path] = (),
) -> tuple[dict[str, Any], list[str]]:
    """The whole report, safe for JSON, and the faults: what should not be shipped.

    Args:
        capabilities: Architectures, keys of `ARCHITECTURES`.
        quick: Only the variants that every run of the tests compiles.
        operation: Only those of this folder.
        binaries: Objects of nvcc whose kernels are read in the place of those of the compiled module.
    """
    import triton

    chosen = [
        variant
        for variant in variants()
        if (variant.quick or not quick) and operation in (None, variant.operation)
    ]
    compiled = list(compile_all(chosen, capabilities))
    report: dict[str, Any] = {
        "ran_on_a_gpu": False,
        "triton": triton.__version__,
        "kernels": triton_rows(compiled),
        "cuda": [],
        "cuda_missing": "",
    }
    faults = [fault for one in compiled for fault in one.faults()]
    try:
        found = [one for path in binaries for one in read_resources(path)] if binaries else native_resources()
        report["cuda"] = native_rows(found)
        faults += [
            f"{one.function}, sm_{one.capability}: {one.stack} bytes of local memory for each thread: "
            "spilled registers, or an array indexed by a variable"
            for one in found
            if one.stack
        ]
    except (NativeUnavailable, ToolMissing, ValueError) as reason:
        report["cuda_missing"] = str(reason)
    return report, faults


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 1 where a kernel spills or does not fit."""
    parser = argparse.ArgumentParser(
        prog="python -m pitviper.kernels.aot",
        description="Compile the Triton kernels for GPUs that need not be here; print registers, spills, shared "
        "memory and occupancy from the binaries, and the bytes and operations of each launch. Nothing is run.",
    )
    parser.add_argument(
        "--arch",
        type=int,
        action="append",
        choices=tuple(ARCHITECTURES),
        help="87 for sm_87; may be repeated",
    )
    parser.add_argument("--operation", help="only the kernels of this operation")
    parser.add_argument("--quick", action="store_true", help="only one or two forms of each kernel")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--binary",
        type=Path,
        action="append",
        default=[],
        help="read CUDA kernels from this object, archive or library of nvcc, not from the compiled module",
    )
    options = parser.parse_args(argv)
    capabilities = tuple(options.arch or ARCHITECTURES)
    report, faults = build(
        capabilities, quick=options.quick, operation=options.operation, binaries=options.binary
    )
    if options.json:
        print(json.dumps(report, indent=1))
    else:
        print("\n\n".join(table(report["kernels"], capability) for capability in capabilities))
        print(f"\nCUDA kernels: {len(report['cuda']) or report['cuda_missing']}")
        for row in report["cuda"]:
            taken = ", ".join(
                f"{name} {found['registers']}"
                + (f" (stack {found['stack_bytes']})" if found["stack_bytes"] else "")
                for name, found in row["architectures"].items()
            )
            print(f"  {row['function']}: registers {taken}")
        print("Compiled only: no kernel was run, and no time is measured here.")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0
