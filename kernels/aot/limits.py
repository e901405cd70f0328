# SPDX-License-Identifier: Apache-2.0
"""What a multiprocessor of each architecture holds, and how many blocks of a kernel find room on it.

Source of the numbers: ``cuda/__device/arch_traits.h`` of NVIDIA's CCCL (CUDA 13.0), which states them for every compute
capability. Source of the rounding: ``cuda_occupancy.h`` of the CUDA toolkit; a test compiles that header, where it is
found, and compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WARP: Final = 32
_REGISTERS: Final = 64 * 1024
_MOST_REGISTERS_PER_THREAD: Final = 255
_REGISTER_UNIT: Final = 256
_SHARED_UNIT: Final = 128
_PARTITIONS: Final = 4
_KIB: Final = 1024
RESERVED_SHARED: Final = _KIB
"""Bytes of shared memory that the driver keeps in every block, from compute capability 8.0 on."""


@dataclass(frozen=True)
class Architecture:
    """The limits of one compute capability that differ between those of this project.

    Attributes:
        capability: 10 * major + minor, as in ``sm_87``.
        threads: Resident threads of a multiprocessor.
        blocks: Resident blocks of a multiprocessor.
        shared_kib: Shared memory of a multiprocessor in KiB; a block gets one KiB less.
        example: A device.
    """

    capability: int
    threads: int
    blocks: int
    shared_kib: int
    example: str

    @property
    def name(self) -> str:
        """As the compilers call it."""
        return f"sm_{self.capability}"

    @property
    def shared_per_block(self) -> int:
        """Bytes that one block may ask for."""
        return self.shared_kib * _KIB - RESERVED_SHARED


ARCHITECTURES: Final[dict[int, Architecture]] = {
    limits.capability: limits
    for limits in (
        Architecture(80, threads=2048, blocks=32, shared_kib=164, example="A100"),
        Architecture(87, threads=1536, blocks=16, shared_kib=164, example="Jetson Orin"),
        Architecture(90, threads=2048, blocks=32, shared_kib=228, example="H100, H200"),
        Architecture(110, threads=1536, blocks=24, shared_kib=228, example="Jetson Thor"),
        Architecture(120, threads=1536, blocks=24, shared_kib=100, example="GeForce RTX 50"),
    )
}
"""By compute capability; registers (64 Ki a multiprocessor, 255 a thread) are the same for all of them."""


@dataclass(frozen=True)
class Occupancy:
    """How full a multiprocessor gets.

    Attributes:
        blocks: Resident blocks; 0 means that the kernel cannot be launched.
        share: Resident warps over those that the multiprocessor has room for, 0 to 1.
        bound: What allows no further block: "registers", "shared memory", "threads" or "blocks".
    """

    blocks: int
    share: float
    bound: str


def occupancy(architecture: Architecture, *, registers: int, shared: int, threads: int) -> Occupancy:
    """Resident blocks of a kernel on one multiprocessor.

    Args:
        registers: Of one thread.
        shared: Bytes of one block, static and dynamic, without what the driver reserves.
        threads: Of one block, at least 1.

    Raises:
        ValueError: ``threads`` or ``registers`` is below 1 or ``shared`` negative.
    """
    if threads < 1 or registers < 1 or shared < 0:
        raise ValueError(
            "a kernel has one thread and register or more and no negative shared memory, got "
            f"{threads} threads, {registers} registers and {shared} bytes"
        )
    warps = -(-threads // WARP)
    warp_registers = _up(registers * WARP, _REGISTER_UNIT)
    block_shared = _up(shared + RESERVED_SHARED, _SHARED_UNIT)
    fits = registers <= _MOST_REGISTERS_PER_THREAD and warp_registers * _up(warps, _PARTITIONS) <= _REGISTERS
    room = {
        "registers": _REGISTERS // _PARTITIONS // warp_registers * _PARTITIONS // warps if fits else 0,
        "shared memory": architecture.shared_kib * _KIB // block_shared,
        "threads": architecture.threads // (warps * WARP),
        "blocks": architecture.blocks,
    }
    bound = min(room, key=lambda name: room[name])
    return Occupancy(room[bound], room[bound] * warps * WARP / architecture.threads, bound)


def register_share(architecture: Architecture, registers: int) -> float:
    """The most that registers allow of a multiprocessor's warps, 0 to 1, where the size of a block is not known."""
    warps = _REGISTERS // _PARTITIONS // _up(registers * WARP, _REGISTER_UNIT) * _PARTITIONS
    return min(1.0, warps * WARP / architecture.threads)


def _up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
