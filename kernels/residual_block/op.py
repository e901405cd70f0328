# SPDX-License-Identifier: Apache-2.0
"""The public `residual_block` for NumPy arrays: checks the arguments, chooses the backend."""

from __future__ import annotations

from typing import Final

from pitviper.kernels import registry
from pitviper.kernels.conv_block import maps
from pitviper.kernels.conv_block.op import require_input
from pitviper.kernels.conv_block.reference import Array, Convolution
from pitviper.kernels.residual_block import host_impl, reference

MOST_CHANNELS: Final = 128


def residual_block(
    x: Array,
    first: Convolution,
    second: Convolution,
    *,
    shortcut: bool = True,
    out: Array | None = None,
    backend: registry.BackendChoice = "auto",
) -> Array:
    """``relu(x + second(relu(first(x))))`` in one launch, without ``x`` where there is no shortcut.

    Args:
        x: Map [N, H, W, C] of float32, float16 or bfloat16 (of ``ml_dtypes``), C a multiple of 16 and at most 128;
            without shortcut also a frame, as `conv_block` reads it. Copied where it is not in C order.
        first: 3x3, stride 1. ReLU follows both convolutions, whatever their ``relu`` says.
        second: 3x3, stride 1, as many inputs as outputs.
        shortcut: Add ``x`` before the last ReLU.
        out: Receives the result: C order, the result's dtype and shape, at an address that is a multiple of 16.
            It must not overlap another argument.
        backend: ``"numpy"`` (the definition, which ``"auto"`` takes) or ``"host"`` (the body of the GPU's kernel,
            compiled for the CPU: slower, it is there to be tested and for the ``host`` device).

    Returns:
        The map [N, H, W, C_out] of the dtype of ``x``; ``out`` if given.

    Raises:
        TypeError: An argument is no array, or of another dtype.
        ValueError: Shapes or settings that do not fit; the message names them.
        NativeUnavailable: ``backend="host"`` and the compiled module is missing.
    """
    chosen = registry.resolve(backend, "residual_block")
    x, inputs, size = require_input(x, first)
    first = _require_3x3(first, inputs, "first")
    second = _require_3x3(second, len(first.weight), "second")
    channels = len(second.weight)
    if channels != len(first.weight) or max(channels, inputs) > MOST_CHANNELS:
        raise ValueError(
            f"both convolutions must have the same number of outputs, at most {MOST_CHANNELS}; "
            f"got {len(first.weight)} and {channels} after {inputs} inputs"
        )
    if shortcut and (x.ndim != 4 or inputs != channels):
        raise ValueError(
            f"a shortcut needs a map of {channels} channels, got shape {x.shape}; pass shortcut=False"
        )
    shape = (x.shape[0], *size, channels)
    result = maps.empty(shape, x.dtype) if out is None else maps.require_out(out, shape, x.dtype)
    if chosen == "host":
        host_impl.residual_block_host(x, first, second, out=result, shortcut=shortcut)
    else:
        result[...] = reference.residual_block_reference(x, first, second, shortcut=shortcut)
    return result


def _require_3x3(convolution: Convolution, inputs: int, name: str) -> Convolution:
    checked = maps.require_convolution(convolution, inputs, name)
    if checked.weight.shape[2] != 3 or checked.stride != 1 or checked.upsample != 1:
        raise ValueError(
            f"{name} must be 3x3 with stride 1 and no upsample, got weight {checked.weight.shape} and "
            f"stride {checked.stride}, upsample {checked.upsample}"
        )
    return checked
