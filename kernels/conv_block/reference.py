# SPDX-License-Identifier: Apache-2.0
"""The definition of `conv_block`, in NumPy. Every other implementation is tested against this file.

Maps are [N, H, W, C]. Sums are float64; a result is rounded once, to the type that is stored. A map that enters a
convolution is of that type as well, so the joined inputs of a decoder are rounded before the convolution reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Convolution:
    """A plain convolution that keeps the size (zero padding ``k // 2``), and what follows it.

    Attributes:
        weight: float32 [C_out, C_in, k, k], k 1 or 3, batch norm folded in.
        bias: float32 [C_out].
        stride: 1 or 2: the result is [N, ceil(H / stride), ceil(W / stride), C_out].
        relu: Negative results become 0; NaN stays NaN.
        upsample: 2 repeats each result to 2 x 2 pixels before the residual is added.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    stride: int = 1
    relu: bool = False
    upsample: int = 1


@dataclass(frozen=True, eq=False)
class Merge:
    """How a decoder joins its inputs before the convolution.

    ``u`` is the 1x1 convolution of ``low``, its rows and columns repeated ``scale`` times; ``s`` is the input:
    ``s + u``, or with ``affine`` ``(1 + k (gamma - 1)) s + k beta`` where [gamma, beta] = u and k = ``strength``.

    Attributes:
        low: Map [N, H / scale, W / scale, C_low].
        weight: float32 [C, C_low, 1, 1], [2 C, C_low, 1, 1] with ``affine``.
        bias: float32 [C], [2 C] with ``affine``.
        scale: 1 or 2.
        relu: ReLU of the joined map.
        affine: Modulate instead of add.
        strength: k, used with ``affine`` only.
    """

    low: Array
    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    scale: int = 2
    relu: bool = True
    affine: bool = False
    strength: float = 1.0


@dataclass(frozen=True, eq=False)
class Head:
    """Logits [N, LH, LW] float32 in place of the map: a 1x1 convolution of the convolution's float32 result.

    Attributes:
        weight: float32 [1, C_out], or [4, C_out] where the four outputs are the 2 x 2 pixels of a depth-to-space.
        bias: float32 [1] or [4].
        coarse: Map [N, LH / 2, LW / 2, C], or None. The depth-to-space of its 1x1 convolution is added.
        coarse_weight: float32 [4, C].
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    coarse: Array | None = None
    coarse_weight: npt.NDArray[np.float32] | None = None


def space_to_depth(frame: Array) -> Array:
    """[N, 2 H, 2 W] to [N, H, W, 4]: channel = 2 * (row phase) + (column phase), as ``pixel_unshuffle`` does."""
    n, height, width = frame.shape
    blocks = frame.reshape(n, height // 2, 2, width // 2, 2)
    return blocks.transpose(0, 1, 3, 2, 4).reshape(n, height // 2, width // 2, 4)


def depth_to_space(packed: Array) -> Array:
    """The inverse of `space_to_depth`."""
    n, height, width, _ = packed.shape
    blocks = packed.reshape(n, height, width, 2, 2)
    return blocks.transpose(0, 1, 3, 2, 4).reshape(n, 2 * height, 2 * width)


def upsample_nearest(x: Array, scale: int) -> Array:
    """[N, H, W, C] to [N, scale H, scale W, C]."""
    return x.repeat(scale, axis=1).repeat(scale, axis=2)


def rectify(x: Array, wanted: bool) -> Array:
    """ReLU where it is ``wanted``."""
    return np.maximum(x, 0.0) if wanted else x


def convolve(x: Array, weight: Array, bias: Array, stride: int = 1) -> npt.NDArray[np.float64]:
    """The convolution in float64: one matrix product for each tap."""
    n, height, width, _ = x.shape
    side = weight.shape[2]
    pad = side // 2
    padded = np.pad(x.astype(np.float64), ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    kernel = weight.astype(np.float64)
    result = np.broadcast_to(
        bias.astype(np.float64), (n, -(-height // stride), -(-width // stride), weight.shape[0])
    ).copy()
    for dy in range(side):
        for dx in range(side):
            taps = padded[:, dy : dy + height : stride, dx : dx + width : stride]
            result += taps @ kernel[:, :, dy, dx].T
    return result


def merge_reference(skip: Array, merge: Merge) -> Array:
    """The joined map, of the type of ``skip``."""
    upsampled = upsample_nearest(convolve(merge.low, merge.weight, merge.bias), merge.scale)
    s = skip.astype(np.float64)
    if merge.affine:
        gamma, beta = np.split(upsampled, 2, axis=-1)
        joined = (1.0 + merge.strength * (gamma - 1.0)) * s + merge.strength * beta
    else:
        joined = s + upsampled
    return rectify(joined, merge.relu).astype(skip.dtype)


def head_reference(x: Array, head: Head) -> npt.NDArray[np.float32]:
    """The logits of the map ``x``."""
    fine = x @ head.weight.astype(np.float64).T + head.bias.astype(np.float64)
    logits = depth_to_space(fine) if len(head.weight) == 4 else fine[..., 0]
    if head.coarse is not None and head.coarse_weight is not None:
        coarse = head.coarse.astype(np.float64) @ head.coarse_weight.astype(np.float64).T
        logits = logits + depth_to_space(coarse)
    return logits.astype(np.float32)


def conv_block_reference(
    x: Array,
    convolution: Convolution,
    *,
    residual: Array | None = None,
    merge: Merge | None = None,
    head: Head | None = None,
) -> Array:
    """``relu?(upsample(convolution(x)) + residual)``; ``x`` joined with a second map before, logits after.

    Args:
        x: [N, H, W, C_in], or a frame: [N, H, W] for a convolution of one channel, [N, 2 H, 2 W] for one of four,
            which reads it space-to-depth.
        residual: Of the result's shape.
    """
    if x.ndim == 3:
        x = space_to_depth(x) if convolution.weight.shape[1] == 4 else x[..., None]
    if merge is not None:
        x = merge_reference(x, merge)
    y = upsample_nearest(
        convolve(x, convolution.weight, convolution.bias, convolution.stride), convolution.upsample
    )
    if residual is not None:
        y = y + residual.astype(np.float64)
    y = rectify(y, convolution.relu)
    return y.astype(x.dtype) if head is None else head_reference(y, head)
