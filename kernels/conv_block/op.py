# SPDX-License-Identifier: Apache-2.0
"""The public `conv_block` for NumPy arrays: checks the arguments, chooses the backend."""

from __future__ import annotations

import numpy as np

from pitviper.kernels import registry
from pitviper.kernels.conv_block import host_impl, maps, reference
from pitviper.kernels.conv_block.reference import Array, Convolution, Head, Merge


def conv_block(
    x: Array,
    convolution: Convolution,
    *,
    residual: Array | None = None,
    merge: Merge | None = None,
    head: Head | None = None,
    out: Array | None = None,
    backend: registry.BackendChoice = "auto",
) -> Array:
    """``relu?(upsample(convolution(x)) + residual)``; ``x`` joined with a second map before, logits after.

    Every combination is one launch. Maps are [N, H, W, C] of float32, float16 or bfloat16 (of ``ml_dtypes``), with C
    a multiple of 16; sums are float32, and results are rounded once.

    Args:
        x: Map, or a frame: [N, H, W] for a convolution of one channel, [N, 2 H, 2 W] for one of four, which
            reads it space-to-depth. Copied where it is not in C order.
        residual: Map of the result's shape; not with a head.
        merge: Joins ``x`` with the 1x1 convolution of a map of at most 128 channels.
        head: Turns the result, of at most 64 channels, into logits.
        out: Receives the result: C order, the result's dtype and shape, at an address that is a multiple of 16.
            It must not overlap another argument.
        backend: ``"numpy"`` (the definition, which ``"auto"`` takes) or ``"host"`` (the body of the GPU's kernel,
            compiled for the CPU: slower, it is there to be tested and for the ``host`` device).

    Returns:
        The map [N, H', W', C_out] of the dtype of ``x``, or logits float32 [N, LH, LW]; ``out`` if given.

    Raises:
        TypeError: An argument is no array, or of another dtype.
        ValueError: Shapes or settings that do not fit; the message names them.
        NativeUnavailable: ``backend="host"`` and the compiled module is missing.

    Example:
        >>> mean = Convolution(np.full((16, 1, 3, 3), 1 / 9, np.float32), np.zeros(16, np.float32))
        >>> conv_block(np.ones((1, 3, 3), np.float32), mean)[0, :, :, 5].round(2).tolist()
        [[0.44, 0.67, 0.44], [0.67, 1.0, 0.67], [0.44, 0.67, 0.44]]
    """
    chosen = registry.resolve(backend, "conv_block")
    x, inputs, size = require_input(x, convolution)
    convolution = maps.require_convolution(convolution, inputs)
    if merge is not None:
        merge = maps.require_merge(merge, x)
    scale, up = convolution.stride, convolution.upsample
    rows, columns = (-(-side // scale) * up for side in size)
    channels = convolution.weight.shape[0]
    shape: tuple[int, ...] = (x.shape[0], rows, columns, channels)
    if residual is not None:
        residual = maps.require_map(residual, "residual", like=x)
        maps.require_shape(residual, "residual", shape)
    dtype = x.dtype
    if head is not None:
        if residual is not None or up != 1:
            raise ValueError("a head takes neither a residual nor upsample; leave them out")
        head = maps.require_head(head, x, (x.shape[0], rows, columns, channels))
        side = 2 if len(head.weight) == 4 else 1
        shape, dtype = (x.shape[0], side * rows, side * columns), maps.LOGITS
    result = maps.empty(shape, dtype) if out is None else maps.require_out(out, shape, dtype)
    if chosen == "host":
        host_impl.conv_block_host(x, convolution, result, residual=residual, merge=merge, head=head)
    else:
        result[...] = reference.conv_block_reference(
            x, convolution, residual=residual, merge=merge, head=head
        )
    return result


def require_input(x: object, convolution: Convolution) -> tuple[Array, int, tuple[int, int]]:
    """A checked map or frame, the channels that the convolution sees, and its rows and columns."""
    given = maps.require_map(x, "x", frame=True)
    if given.ndim == 4:
        return given, given.shape[3], given.shape[1:3]
    weight = getattr(convolution, "weight", None)
    inputs = weight.shape[1] if isinstance(weight, np.ndarray) and weight.ndim == 4 else 0
    if inputs not in (1, 4):
        raise ValueError(
            f"a frame {given.shape} needs a convolution of 1 channel, or of 4 to be read space-to-depth; "
            f"this one takes {inputs}"
        )
    side = 2 if inputs == 4 else 1
    if given.shape[1] % side or given.shape[2] % side:
        raise ValueError(f"a frame read space-to-depth needs even rows and columns, got shape {given.shape}")
    return given, inputs, (given.shape[1] // side, given.shape[2] // side)
