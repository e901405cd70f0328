# SPDX-License-Identifier: Apache-2.0
"""Registers, stack and shared memory of compiled kernels, read from the binary by NVIDIA's ``cuobjdump``.

The binary is asked and not the assembler's log, because it is what runs: a cubin of Triton, an object or archive of
nvcc, and the native module itself carry the same record.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pitviper.kernels.aot.limits import RESERVED_SHARED

_ARCHITECTURE: Final = re.compile(r"^\s*arch\s*=\s*sm_(\d+)", re.MULTILINE)
_FUNCTION: Final = re.compile(r"^\s*Function (\S+?):\s*\n\s*(REG:.*)$", re.MULTILINE)
_FIELD: Final = re.compile(r"([A-Z]+)(?:\[\d+\])?:(\d+)")
# From sm_90 on the record of a kernel with shared memory counts what the driver reserves in every block as its own.
_COUNTS_RESERVED: Final = 90


class ToolMissing(RuntimeError):
    """A program that this report needs is not installed; the message says where it comes from."""


@dataclass(frozen=True)
class Resources:
    """What one kernel takes.

    Attributes:
        function: Name in the binary.
        capability: Compute capability that it was compiled for, 87 for ``sm_87``.
        registers: Of a thread.
        stack: Bytes of local memory of a thread, for registers that did not fit and arrays indexed by a variable.
        shared: Bytes of static shared memory of a block.
    """

    function: str
    capability: int
    registers: int
    stack: int
    shared: int


def find_cuobjdump() -> Path:
    """The program of the CUDA toolkit on the path, or the one that Triton brings.

    Raises:
        ToolMissing: Neither is installed.
    """
    found = shutil.which("cuobjdump")
    if found:
        return Path(found)
    try:
        from triton import knobs
    except ImportError:
        raise ToolMissing(
            "cuobjdump was not found: install the CUDA toolkit, or Triton with pip install 'pitviper[triton]'"
        ) from None
    return Path(knobs.nvidia.cuobjdump.path)


def read_resources(binary: Path, *, capability: int | None = None) -> list[Resources]:
    """Every kernel in a cubin, object, archive, shared library or executable, in the order of the file.

    Args:
        binary: The file.
        capability: What it was compiled for, where the file is a bare cubin, which does not say.

    Raises:
        ToolMissing: There is no ``cuobjdump``.
        ValueError: The file holds no kernel; the message has what ``cuobjdump`` said.
    """
    command = [str(find_cuobjdump()), "--dump-resource-usage", str(binary)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = parse_resources(done.stdout, capability=capability)
    if not found:
        said = (done.stderr or done.stdout).strip().replace(str(binary), binary.name)
        raise ValueError(f"no kernel in {binary.name}: {said}")
    return found


def parse_resources(text: str, *, capability: int | None = None) -> list[Resources]:
    """Read what ``cuobjdump --dump-resource-usage`` prints.

    Raises:
        ValueError: A kernel stands before any architecture, and ``capability`` is None.
    """
    architectures = [(found.start(), int(found[1])) for found in _ARCHITECTURE.finditer(text)]
    kernels = []
    for found in _FUNCTION.finditer(text):
        fields = {name: int(value) for name, value in _FIELD.findall(found[2])}
        before = [number for start, number in architectures if start < found.start()]
        number = before[-1] if before else capability
        if number is None:
            raise ValueError(f"the record of {found[1]} names no architecture; pass capability")
        reserved = RESERVED_SHARED if number >= _COUNTS_RESERVED else 0
        kernels.append(
            Resources(
                found[1],
                number,
                fields["REG"],
                fields["STACK"] + fields["LOCAL"],
                max(fields["SHARED"] - reserved, 0),
            )
        )
    return kernels
