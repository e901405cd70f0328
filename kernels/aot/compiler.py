# SPDX-License-Identifier: Apache-2.0
"""Triton kernels compiled for an architecture that need not be in the machine, and what became of them."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pitviper.kernels.aot.limits import ARCHITECTURES, WARP, Occupancy, occupancy
from pitviper.kernels.aot.resources import Resources, read_resources
from pitviper.kernels.aot.variant import Variant

IMPLEMENTATIONS: Final = ("affine_modulate", "conv_block", "samf_fuse")
"""Folders with a ``triton_impl.py``, which has a function ``aot_variants``."""


@dataclass(frozen=True)
class Compiled:
    """One variant for one architecture.

    Attributes:
        variant: What was compiled.
        resources: What the compiler gave it; shared memory with the dynamic part.
        occupancy: Of one multiprocessor.
    """

    variant: Variant
    resources: Resources
    occupancy: Occupancy

    def faults(self) -> list[str]:
        """Why this kernel should not be shipped, in words; empty where it may."""
        limits = ARCHITECTURES[self.resources.capability]
        found = []
        if self.resources.stack:
            found.append(f"{self.resources.stack} bytes of registers spilled to memory by each thread")
        if self.resources.shared > limits.shared_per_block:
            found.append(
                f"{self.resources.shared} bytes of shared memory; a block has {limits.shared_per_block}"
            )
        if not self.occupancy.blocks:
            found.append(f"no block fits on a multiprocessor: {self.occupancy.bound}")
        return [f"{self.variant.operation} {self.variant.name}, {limits.name}: {fault}" for fault in found]


def variants() -> list[Variant]:
    """What the Triton implementations list, by operation.

    Raises:
        ImportError: Triton is not installed.
        RuntimeError: Triton was told to interpret its kernels, which leaves nothing to compile.
    """
    from triton import knobs

    if knobs.runtime.interpret:
        raise RuntimeError("TRITON_INTERPRET is set: its kernels are Python and cannot be compiled; unset it")
    found: list[Variant] = []
    for operation in IMPLEMENTATIONS:
        found += importlib.import_module(f"pitviper.kernels.{operation}.triton_impl").aot_variants()
    return found


def compile_variant(variant: Variant, capability: int, folder: Path) -> Compiled:
    """Compile one variant and read what it takes.

    Args:
        variant: The kernel with its constants.
        capability: One of `limits.ARCHITECTURES`.
        folder: Where the cubin is written to be read.

    Raises:
        KeyError: The limits of that capability are not known.
        RuntimeError: The compiler does not know the capability, or refuses the kernel.
    """
    binary = _compile(variant, capability)
    path = folder / f"{variant.operation}-{capability}.cubin"
    path.write_bytes(binary.asm["cubin"])
    (read,) = read_resources(path, capability=capability)
    resources = Resources(
        read.function,
        capability,
        read.registers,
        read.stack,
        # The allocator of Triton asks for all of it at the launch; what the binary itself holds is none of it.
        binary.metadata.shared,
    )
    return Compiled(
        variant,
        resources,
        occupancy(
            ARCHITECTURES[capability],
            registers=resources.registers,
            shared=resources.shared,
            threads=WARP * variant.num_warps,
        ),
    )


def assembly(variant: Variant, capability: int) -> str:
    """PTX of one variant: which instructions load, multiply and store. Raises as `compile_variant`."""
    text: str = _compile(variant, capability).asm["ptx"]
    return text


def _compile(variant: Variant, capability: int) -> Any:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = list(variant.kernel.arg_names)
    signature = {name: variant.signature.get(name, "constexpr") for name in names}
    aligned: dict[tuple[int, ...], list[list[Any]]] = {
        (names.index(name),): [["tt.divisibility", 16]] for name in variant.aligned
    }
    return triton.compile(
        ASTSource(variant.kernel, signature, dict(variant.constants), aligned),
        target=GPUTarget("cuda", capability, WARP),
        options={
            "num_warps": variant.num_warps,
            "num_stages": variant.num_stages,
            "enable_fp_fusion": True,
        },
    )


def compile_all(
    chosen: Iterable[Variant], capabilities: Iterable[int] = tuple(ARCHITECTURES)
) -> Iterator[Compiled]:
    """Compile each variant for each architecture, one after another."""
    wanted = tuple(capabilities)
    with tempfile.TemporaryDirectory() as folder:
        for variant in chosen:
            for capability in wanted:
                yield compile_variant(variant, capability, Path(folder))
