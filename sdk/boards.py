# SPDX-License-Identifier: Apache-2.0
"""What boards can do at most, from their data sheets, for floors that are computed and not measured.

NVIDIA hands its data sheets out behind a login, so the numbers were checked in November 2026 against what is public:

- Orin Nano: a copy of the data sheet (scribd.com/document/673174036) has 1024 cores, 625 MHz and 128-bit LPDDR5.
- Orin NX: deviceQuery on a module of 16 GB (gist.github.com/atinfinity/8cede915acda05d0ff427c09604735dd) tells 8
  multiprocessors, 918 MHz and 164 KiB of shared memory in each.
- AGX Orin: the technical brief of its series, as mzph.cn/web/30785.shtml summarises it, has 16 multiprocessors, 5.3
  TFLOPS in fp32, which is 1.3 GHz, and 170 TOPS of the GPU alone.
- Thor: a user's query of the device (forums.developer.nvidia.com/t/356355) tells 20 multiprocessors and 228 KiB.

For the bandwidths, and for Thor's clock and TFLOPS, no document of NVIDIA's could be read: they are as its product
pages are quoted elsewhere. The bandwidths agree with the width of the bus and the fastest memory that the modules take.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

__all__ = ["BOARDS", "Board"]

_AMPERE: Final = 2048
"""Operations in a clock and multiprocessor in dense fp16 on tensor cores: 4 x 256 multiply-adds. Sparse int8 is four
times as much, which is how data sheets state it; the 170 TOPS of AGX Orin's GPU give this number back."""
_BLACKWELL: Final = 8192
"""The same of Thor: a quarter of its sparse fp8, an eighth of its sparse fp4. Derived, see above."""


@dataclass(frozen=True)
class Board:
    """One module at its highest clocks.

    Attributes:
        name: What ``--board`` calls it.
        module: What its maker calls it.
        gigabytes_per_s: Memory bandwidth, which the GPU shares with the processor, in 10^9 bytes a second.
        multiprocessors: Of its GPU.
        gpu_ghz: Highest clock of its GPU.
        operations_per_clock: Of one multiprocessor in dense fp16.
        source: Where the numbers are from, and what they leave out.
    """

    name: str
    module: str
    gigabytes_per_s: float
    multiprocessors: int
    gpu_ghz: float
    operations_per_clock: int
    source: str

    @property
    def gigaoperations_per_s(self) -> float:
        """Dense fp16 on tensor cores, in 10^9 operations a second."""
        return self.multiprocessors * self.gpu_ghz * self.operations_per_clock

    def to_dict(self) -> dict[str, Any]:
        """The fields by name with the rate, safe for JSON."""
        return {**vars(self), "gigaoperations_per_s": self.gigaoperations_per_s}


_ALL: Final = (
    Board(
        "orin-nano",
        "Jetson Orin Nano 8GB",
        68.0,
        8,
        0.625,
        _AMPERE,
        "NVIDIA, data sheet of the Jetson Orin Nano series: 128-bit LPDDR5 with 68 GB/s, 1024 cores at 625 MHz, 40 "
        "TOPS (sparse int8). The Super mode, 102 GB/s and 1020 MHz, is not counted",
    ),
    Board(
        "orin-nx",
        "Jetson Orin NX 16GB",
        102.4,
        8,
        0.918,
        _AMPERE,
        "NVIDIA, data sheet of the Jetson Orin NX series: 128-bit LPDDR5 with 102.4 GB/s, 1024 cores at 918 MHz. Its "
        "100 TOPS (sparse int8) hold 40 of two DLAs, which are not used",
    ),
    Board(
        "agx-orin",
        "Jetson AGX Orin 64GB",
        204.8,
        16,
        1.3,
        _AMPERE,
        "NVIDIA, data sheet of the Jetson AGX Orin series: 256-bit LPDDR5 with 204.8 GB/s, 2048 cores at 1.3 GHz. Its "
        "275 TOPS (sparse int8) hold 105 of two DLAs, which are not used",
    ),
    Board(
        "thor",
        "Jetson T5000 (AGX Thor)",
        273.0,
        20,
        1.575,
        _BLACKWELL,
        "NVIDIA, data sheet of the Jetson Thor series: 256-bit LPDDR5X with 273 GB/s, 2560 cores at 1.575 GHz, 2070 "
        "TFLOPS (sparse fp4)",
    ),
)
BOARDS: Final = {board.name: board for board in _ALL}
"""By the name that ``--board`` takes."""
