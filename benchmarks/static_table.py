# SPDX-License-Identifier: Apache-2.0
"""The tables of ``static_report.py`` for the pages."""

from __future__ import annotations

from typing import Any

from markdown_table import markdown_table

Result = dict[str, Any]


def triton(result: Result) -> str:
    """A line for each compiled form: registers, shared memory and occupancy by architecture, and its floor."""
    names = sorted(
        {name for row in result["kernels"] for name in row["architectures"]}, key=lambda n: int(n[3:])
    )
    lines = []
    for row in result["kernels"]:
        cells = [f"`{row['operation']}` {row['name']}", row["launch"]]
        cells += [f"{row['bytes'] / 1e6:.2f}", f"{row['operations'] / 1e6:.0f}"]
        for name in names:
            found = row["architectures"].get(name)
            cells.append(
                f"{found['registers']} / {found['shared_bytes'] / 1024:.0f} / {found['occupancy']:.0%}"
                if found
                else ""
            )
        lines.append(cells)
    spilled = sum(
        found["stack_bytes"] for row in result["kernels"] for found in row["architectures"].values()
    )
    told = (
        f"Triton {result['triton']}; registers of a thread / KiB of shared memory of a program / share of a "
        f"multiprocessor's warps that fit. Bytes spilled by all of them together: {spilled}."
    )
    return f"{told}\n\n" + markdown_table(["kernel", "launch", "MB", "Mop", *names], lines)


def cuda(result: Result) -> str:
    """A line for each CUDA kernel, its instances for element types and widths together."""
    if not result["cuda"]:
        return "Not in this report: the compiled module that it was made with held no device code to read."
    names = sorted(
        {name for row in result["cuda"] for name in row["architectures"]}, key=lambda n: int(n[3:])
    )
    families: dict[str, list[Result]] = {}
    for row in result["cuda"]:
        families.setdefault(row["function"].partition("<")[0], []).append(row["architectures"])
    lines = []
    for family, forms in families.items():
        cells = [f"`{family}`", str(len(forms))]
        for name in names:
            found = [form[name]["registers"] for form in forms if name in form]
            cells.append(f"{min(found)} to {max(found)}" if found else "")
        lines.append(cells)
    stacks = [found["stack_bytes"] for row in result["cuda"] for found in row["architectures"].values()]
    return (
        "Registers of a thread, fewest and most over the forms; bytes spilled by a thread at most: "
        f"{max(stacks)}.\n\n" + markdown_table(["kernel", "forms", *names], lines)
    )


def frames(result: Result) -> str:
    """Floors of whole frames."""
    height, width = result["shape"]
    lines = []
    for row in result["frames"]:
        lines.append(
            [
                f"`{row['model']}`",
                row["module"],
                f"{row['gigabytes_per_s']:g}",
                str(row["launches"]),
                f"{row['bytes'] / 1e6:.1f}",
                f"{row['operations'] / 1e9:.2f}",
                f"{row['floor_ms']:.2f}",
            ]
        )
    return (
        f"One uint16 frame of {width}x{height} to its targets in fp16, by data-sheet numbers. *A floor, not a "
        "measurement*:\n\n"
        + markdown_table(["model", "board", "GB/s", "launches", "MB", "Gop", "floor, ms"], lines)
    )
