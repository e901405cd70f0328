# SPDX-License-Identifier: Apache-2.0
"""What the compilers say of every kernel, as JSON-safe rows and as a table for a terminal."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pitviper.kernels import native
from pitviper.kernels.aot.compiler import Compiled
from pitviper.kernels.aot.limits import ARCHITECTURES, WARP, register_share
from pitviper.kernels.aot.resources import Resources, read_resources

Row = dict[str, Any]


def triton_rows(compiled: Iterable[Compiled]) -> list[Row]:
    """One row for each variant, with what each architecture gave it; the order is that of ``compiled``."""
    rows: dict[tuple[str, str], Row] = {}
    for one in compiled:
        variant = one.variant
        row = rows.setdefault(
            (variant.operation, variant.name),
            {
                "operation": variant.operation,
                "name": variant.name,
                "launch": variant.launch,
                "programs": variant.programs,
                "threads": WARP * variant.num_warps,
                "bytes": variant.cost.bytes_moved,
                "operations": variant.cost.operations,
                "architectures": {},
            },
        )
        row["architectures"][f"sm_{one.resources.capability}"] = {
            "registers": one.resources.registers,
            "stack_bytes": one.resources.stack,
            "shared_bytes": one.resources.shared,
            "blocks": one.occupancy.blocks,
            "occupancy": round(one.occupancy.share, 3),
            "bound": one.occupancy.bound,
        }
    return list(rows.values())


def native_resources() -> list[Resources]:
    """The CUDA kernels inside the compiled module, as nvcc left them.

    Raises:
        NativeUnavailable: There is no compiled module.
        ValueError: It was built without device code.
        ToolMissing: There is no ``cuobjdump``.
    """
    path = native.load().__file__
    if path is None:
        raise ValueError("the compiled module has no file of its own, so there is nothing to read")
    return read_resources(Path(path))


def native_rows(found: Iterable[Resources]) -> list[Row]:
    """One row for each CUDA kernel. The size of a block is chosen at the launch: stated is what registers allow."""
    rows: dict[str, Row] = {}
    for one in found:
        row = rows.setdefault(one.function, {"function": one.function, "architectures": {}})
        row["architectures"][f"sm_{one.capability}"] = {
            "registers": one.registers,
            "stack_bytes": one.stack,
            "static_shared_bytes": one.shared,
            "occupancy_by_registers": round(register_share(ARCHITECTURES[one.capability], one.registers), 3),
        }
    names = _demangled(list(rows))
    return [{**row, "function": name} for row, name in zip(rows.values(), names, strict=True)]


def table(rows: Iterable[Row], capability: int) -> str:
    """The Triton rows for one architecture, a line each."""
    name = f"sm_{capability}"
    lines = [
        f"{name} ({ARCHITECTURES[capability].example})",
        f"{'kernel':58} {'registers':>9} {'spilled':>7} {'shared':>7} {'occupancy':>9}  {'bound':13} "
        f"{'MB':>7} {'Mop':>8}",
    ]
    for row in rows:
        found = row["architectures"][name]
        lines.append(
            f"{row['operation'] + ': ' + row['name']:58.58} {found['registers']:9} {found['stack_bytes']:7} "
            f"{found['shared_bytes']:7} {found['occupancy']:9.0%}  {found['bound']:13} "
            f"{row['bytes'] / 1e6:7.3f} {row['operations'] / 1e6:8.1f}"
        )
    return "\n".join(lines)


def _demangled(names: list[str]) -> list[str]:
    """C++ names where ``c++filt`` is installed, without the arguments; the linker's names otherwise."""
    tool = shutil.which("c++filt")
    if tool is None or not names:
        return names
    done = subprocess.run([tool], input="\n".join(names), capture_output=True, text=True, check=True)
    return [_template(name) for name in done.stdout.splitlines()]


def _template(name: str) -> str:
    """What a launch of phases runs: "conv_block::Kernel<...>" of "void pitviper::phases::kernel<...>(...)"."""
    inner = name.removeprefix("void pitviper::phases::kernel<").rpartition(">(")[0].strip()
    return (inner or name).replace("pitviper::", "")
