# SPDX-License-Identifier: Apache-2.0
"""The plan: what the fused runtime executes for one frame, and its file.

A plan is independent of the frame's size and of the device. The native module (``kernels/csrc/plan.cpp``) reads this
file and checks everything in it; ``_HEADER`` and the two records below are the whole format, little endian, followed
by the float32 weights and the CRC-32 of all bytes before it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

SCHEMA: Final = 1
"""Version of the file's layout and of the meaning of its launches. The native module reads exactly this one."""
MAGIC: Final = b"PVPLAN\r\n"
CHANNEL_MULTIPLE: Final = 16
"""Channels of every value are a multiple of it, filled with zeros: what a tensor core takes in one step."""

_HEADER: Final = struct.Struct("<8s8I4d4i64s64s32s")
_VALUE: Final = struct.Struct("<4I")
_LAUNCH: Final = struct.Struct("<13i7Q")


class Op(IntEnum):
    """What one launch computes, in the terms of ``kernels/csrc/conv_block.h`` and ``residual_block.h``."""

    CONV = 1
    RESIDUAL = 2


@dataclass(frozen=True)
class Value:
    """A map [H / divisor, W / divisor, channels] of the padded frame [H, W].

    It lies ``offset`` elements per block into the arena. Value 0 is the standardised frame, outside the arena.
    """

    channels: int
    divisor: int
    offset: int = 0


@dataclass(frozen=True)
class Launch:
    """One launch. Maps are indices of values, -1 for none; weights are offsets into the plan's floats.

    Attributes:
        op: CONV, ``target = relu?(upsample(conv(x)) + residual)`` with ``x = source``, or with ``low``
            ``x = merge_relu?(source + upsample(merge conv(low)))``; or RESIDUAL, two 3x3 convolutions with ReLU, the
            second with ``source`` added before its ReLU if ``residual`` is ``source``.
        source: Input; value 0 is read as ``block * block`` channels.
        target: Output; -1 when only logits are written.
        channels: Of the convolution's result (C_out).
        low: Second input, through a 1x1 convolution and ``merge_scale`` times as large.
        residual: Map that is added to the result.
        coarse: Map at half the logits' size whose 1x1 convolution to four planes is added to them.
        kernel: Side of the kernel, 1 or 3.
        stride: 1 or 2.
        relu: Whether negative results become 0.
        upsample: 1 or 2, nearest neighbour.
        merge_scale: 1 or 2; 0 without ``low``.
        merge_relu: ReLU of the merged input.
        outputs: 0, or with a head the logits of each pixel: 1, or 4 at half resolution.
        weights: Offsets of the kernel [C_out, C_in, k, k] and its bias [C_out]; of the second kernel and bias of a
            residual block or the merge's; of the head's weights [outputs, C_out] and bias [outputs]; of the coarse
            weights [4, C]. 0 where there is none.
    """

    op: Op
    source: int
    target: int
    channels: int
    low: int = -1
    residual: int = -1
    coarse: int = -1
    kernel: int = 3
    stride: int = 1
    relu: bool = True
    upsample: int = 1
    merge_scale: int = 0
    merge_relu: bool = False
    outputs: int = 0
    weights: tuple[int, ...] = (0,) * 7

    def reads(self) -> tuple[int, ...]:
        """The values that it reads."""
        return tuple(v for v in (self.source, self.low, self.residual, self.coarse) if v >= 0)


@dataclass(frozen=True)
class FrameRule:
    """Constants of ``standardise`` and ``extract_targets``, carried so that they are written in one place only."""

    normalisation: str
    residual_weight: float
    deviation_weight: float
    box: int
    ring_gap: int
    ring_reach: int
    ring_fewest: int
    mad_to_deviation: float


@dataclass(frozen=True, eq=False)
class Plan:
    """Launches of one network.

    Attributes:
        name: Name of the model.
        architecture: Name and version of the network's architecture.
        stride: Multiple that the sides of the padded frame must have.
        block: 2 if the input is the frame after a space-to-depth of 2 (channel = 2 row + column phase), else 1.
        threshold: Probability that the model's default operating point asks for.
        rule: Constants of the operations around the network.
        values: Maps by index; 0 is the input.
        arena: Elements per stride x stride block that all values need together.
        launches: In order.
        weights: float32 [N], kernels and biases.
    """

    name: str
    architecture: str
    stride: int
    block: int
    threshold: float
    rule: FrameRule
    values: tuple[Value, ...]
    arena: int
    launches: tuple[Launch, ...]
    weights: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """The plan's file."""
        rule = self.rule
        header = _HEADER.pack(
            MAGIC,
            SCHEMA,
            self.stride,
            self.block,
            len(self.values),
            len(self.launches),
            self.arena,
            self.weights.size,
            0,
            self.threshold,
            rule.residual_weight,
            rule.deviation_weight,
            rule.mad_to_deviation,
            rule.box,
            rule.ring_gap,
            rule.ring_reach,
            rule.ring_fewest,
            *(_name(text, size) for text, size in self._names()),
        )
        values = b"".join(_VALUE.pack(v.channels, v.divisor, v.offset, 0) for v in self.values)
        launches = b"".join(_packed(launch) for launch in self.launches)
        content = header + values + launches + self.weights.astype("<f4").tobytes()
        return content + struct.pack("<I", zlib.crc32(content))

    def _names(self) -> tuple[tuple[str, int], ...]:
        return ((self.name, 64), (self.architecture, 64), (self.rule.normalisation, 32))


def _packed(launch: Launch) -> bytes:
    first = launch.source, launch.target, launch.channels, launch.low, launch.residual, launch.coarse
    form = launch.kernel, launch.stride, launch.relu | launch.merge_relu << 1, launch.upsample
    return _LAUNCH.pack(launch.op, *first, *form, launch.merge_scale, launch.outputs, *launch.weights)


def _name(text: str, size: int) -> bytes:
    """UTF-8, cut at a character so that a zero byte follows it."""
    return text.encode("utf-8")[: size - 1].decode("utf-8", "ignore").encode("utf-8")
