# SPDX-License-Identifier: Apache-2.0
"""What the compilers say of every kernel, and the floors of whole frames on boards. Nothing is run on a GPU.

python benchmarks/static_report.py [OBJECT OF NVCC ...]
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

from record import write_result

from pitviper.kernels.aot.command import build
from pitviper.kernels.aot.limits import ARCHITECTURES
from pitviper.sdk import list_models
from pitviper.sdk.boards import BOARDS
from pitviper.sdk.model import open_model
from pitviper.sdk.profiling.floors import static_report

SHAPE = (512, 640)
BOARD_ARCHITECTURE = 87
"""Every form of a kernel is compiled for it; for the other architectures one or two of each."""


def kernels(binaries: list[Path]) -> tuple[dict[str, Any], list[str]]:
    """The rows of every kernel, CUDA's from ``binaries`` or the compiled module, and what should not be shipped."""
    report, faults = build((BOARD_ARCHITECTURE,), binaries=binaries)
    others, more = build([known for known in ARCHITECTURES if known != BOARD_ARCHITECTURE], quick=True)
    by_name = {(row["operation"], row["name"]): row for row in report["kernels"]}
    for row in others["kernels"]:
        by_name[row["operation"], row["name"]]["architectures"].update(row["architectures"])
    return report, faults + more


def frames() -> list[dict[str, Any]]:
    """Floor of one frame on each board: the sum over its launches, which run one after another."""
    rows = []
    for model in list_models():
        for board in BOARDS.values():
            launches = static_report(open_model(model), board, SHAPE)
            rows.append(
                {
                    "model": model,
                    "board": board.name,
                    "module": board.module,
                    "gigabytes_per_s": board.gigabytes_per_s,
                    "launches": len(launches),
                    "bytes": sum(launch.cost.bytes_moved for launch in launches),
                    "operations": sum(launch.cost.operations for launch in launches),
                    "floor_ms": math.fsum(launch.floor_ms for launch in launches),
                }
            )
    return rows


def main() -> int:
    report, faults = kernels([Path(name) for name in sys.argv[1:]])
    if faults:
        print("\n".join(faults), file=sys.stderr)
        return 1
    print(write_result("static_report", {**report, "shape": list(SHAPE), "frames": frames()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
