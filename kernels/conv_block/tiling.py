# SPDX-License-Identifier: Apache-2.0
"""How a launch of the Triton convolution is cut into programs. Needs neither Triton nor torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from pitviper.kernels.conv_block.cost import coarse_cost, conv_block_cost
from pitviper.kernels.cost import Cost

_SMALL_MAP: Final = 8192
"""Pixels below which tiles are halved: 128 programs of 64 pixels leave multiprocessors of a large GPU without one."""

WIDEST_HEAD: Final = 64
"""Channels that a program holds of a pixel at once, and so the most that a head can read."""


@dataclass(frozen=True)
class Tiling:
    """One launch of the Triton convolution: of what, with what fused to it, and how it is cut.

    Attributes:
        shape: [N, H, W, c_in] of the map that is convolved, after the space-to-depth.
        c_out: Channels of the result.
        kernel: 1 or 3.
        stride: 1 or 2.
        unshuffle: The map is read from a frame [N, 2 H, 2 W].
        upsample: 2 repeats each result to 2 x 2 pixels.
        addend: A map of the result's shape is added.
        relu: Negative results become 0.
        outputs: Logits of each pixel that are written in place of the map: 0, 1 or 4.
        c_coarse: Channels of the map that is added to the logits, 0 for none.
        itemsize: Bytes of an element of the maps: 2 or 4.
    """

    shape: tuple[int, int, int, int]
    c_out: int
    kernel: int
    stride: int = 1
    unshuffle: bool = False
    upsample: int = 1
    addend: bool = False
    relu: bool = True
    outputs: int = 0
    c_coarse: int = 0
    itemsize: int = 2

    @property
    def result(self) -> tuple[int, int]:
        """Rows and columns that the convolution gives, before they are repeated."""
        return -(-self.shape[1] // self.stride), -(-self.shape[2] // self.stride)

    @property
    def written(self) -> tuple[int, ...]:
        """Shape of what is written: [N, H, W, c_out], or logits [N, H, W]."""
        side = 2 if self.outputs == 4 else self.upsample
        rows, columns = (side * length for length in self.result)
        return (self.shape[0], rows, columns) if self.outputs else (self.shape[0], rows, columns, self.c_out)

    @property
    def warps(self) -> int:
        """Warps of a program."""
        return self._tile()[3]

    @property
    def programs(self) -> int:
        """Tiles of all images, times the blocks of channels."""
        rows, columns, block_n, _ = self._tile()
        tiles = -(-self.result[0] // rows) * -(-self.result[1] // columns)
        return self.shape[0] * tiles * -(-self.c_out // block_n)

    def sides(self) -> tuple[int, int, int, int]:
        """Rows and columns of the map that is convolved, and of what the convolution gives."""
        return (self.shape[1], self.shape[2], *self.result)

    def constants(self) -> dict[str, Any]:
        """The ``tl.constexpr`` of the kernel."""
        c_in = self.shape[3]
        by_tap = c_in % 16 == 0 and not self.unshuffle
        rows, columns, block_n, _ = self._tile()
        return {
            "C_IN": c_in,
            "C_OUT": self.c_out,
            "KERNEL": self.kernel,
            "STRIDE": self.stride,
            "UNSHUFFLE": self.unshuffle,
            "UPSAMPLE": self.upsample,
            "RELU": self.relu,
            "OUTPUTS": self.outputs,
            "C_COARSE": self.c_coarse,
            "BLOCK_COARSE": _power_of_two(self.c_coarse),
            "ROWS": rows,
            "COLUMNS": columns,
            "BLOCK_N": block_n,
            "BLOCK_K": 32 if self.itemsize == 2 and by_tap and c_in % 32 == 0 else 16,
            "BY_TAP": by_tap,
            # float32 stays float32: its factors are not rounded to the 10 bits that a tensor core takes.
            "PRECISION": "ieee",
        }

    def cost(self) -> Cost:
        """Floor of the launch."""
        block = conv_block_cost(
            self.shape,
            self.c_out,
            kernel=self.kernel,
            stride=self.stride,
            upsample=self.upsample,
            addend=self.addend,
            outputs=self.outputs,
            itemsize=self.itemsize,
        )
        if not self.c_coarse:
            return block
        _, rows, columns = self.written
        coarse = (self.shape[0], rows // 2, columns // 2, self.c_coarse)
        return block + coarse_cost(coarse, itemsize=self.itemsize)

    def described(self) -> str:
        """What the launch computes, for a person."""
        n, height, width, c_in = self.shape
        parts = [f"{self.kernel}x{self.kernel} {c_in} to {self.c_out}"]
        parts += ["stride 2"] if self.stride == 2 else []
        parts += ["space-to-depth"] if self.unshuffle else []
        parts += ["upsampled"] if self.upsample == 2 else []
        parts += ["addend"] if self.addend else []
        parts += [f"head {self.outputs}"] if self.outputs else []
        return f"{', '.join(parts)} on {n}x{height}x{width}"

    def _tile(self) -> tuple[int, int, int, int]:
        """Rows, columns and channels of a program, and its warps."""
        block_n = max(16, min(WIDEST_HEAD, _power_of_two(self.c_out)))
        rows, columns = self.result
        small = self.shape[0] * rows * columns < _SMALL_MAP
        if self.outputs:
            return 8, 8, block_n, 4
        if self.itemsize == 4 or small:
            # float32 has no tensor core here: each thread holds its operands in registers, so fewer channels.
            return (4, 8, min(block_n, 32), 2) if small else (8, 8, min(block_n, 32), 4)
        return (8, 16, block_n, 4) if block_n == 16 else (8, 8, block_n, 4)


def _power_of_two(value: int) -> int:
    return 1 << max(value - 1, 0).bit_length()


COMPILED: Final[tuple[tuple[str, Tiling, bool], ...]] = (
    ("stem", Tiling((1, 256, 320, 4), 16, 3, unshuffle=True), True),
    ("stem of one channel", Tiling((1, 512, 640, 1), 16, 3), False),
    ("16 channels", Tiling((1, 256, 320, 16), 16, 3), False),
    ("16 to 32", Tiling((1, 256, 320, 16), 32, 3), False),
    ("32 channels", Tiling((1, 256, 320, 32), 32, 3), False),
    ("stride 2", Tiling((1, 256, 320, 32), 48, 3, stride=2), False),
    ("48 channels", Tiling((1, 128, 160, 48), 48, 3), False),
    ("48 channels, addend", Tiling((1, 128, 160, 48), 48, 3, addend=True), True),
    ("48 to 64, stride 2", Tiling((1, 128, 160, 48), 64, 3, stride=2), False),
    ("64 channels", Tiling((1, 64, 80, 64), 64, 3), False),
    ("64 channels, addend", Tiling((1, 64, 80, 64), 64, 3, addend=True), False),
    ("64 channels, large map", Tiling((1, 128, 160, 64), 64, 3), False),
    ("128 channels, addend", Tiling((1, 64, 80, 128), 128, 3, addend=True), False),
    ("1x1, addend", Tiling((1, 256, 320, 32), 16, 1, addend=True), False),
    ("decoder, 64 to 64", Tiling((1, 32, 40, 64), 64, 1, upsample=2, addend=True), False),
    ("decoder, 48 to 32", Tiling((1, 128, 160, 48), 32, 1, upsample=2, addend=True), False),
    ("head", Tiling((1, 256, 320, 16), 16, 3, outputs=4, c_coarse=32), True),
    ("head of one output", Tiling((1, 512, 640, 16), 16, 3, outputs=1, c_coarse=32), False),
    ("32 channels", Tiling((1, 256, 320, 32), 32, 3, itemsize=4), False),
    ("64 channels, addend", Tiling((1, 64, 80, 64), 64, 3, addend=True, itemsize=4), False),
    ("stem", Tiling((1, 256, 320, 4), 16, 3, unshuffle=True, itemsize=4), False),
    ("decoder, 48 to 32", Tiling((1, 128, 160, 48), 32, 1, upsample=2, addend=True, itemsize=4), False),
    ("head", Tiling((1, 256, 320, 16), 16, 3, outputs=4, c_coarse=32, itemsize=4), False),
)
"""What is compiled ahead of time: a name, a launch of pit-s or pit-m on a 512x640 frame, and whether every run of the
tests compiles it."""
