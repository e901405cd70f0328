# SPDX-License-Identifier: Apache-2.0
"""The public `samf_split` and `samf_join`: they check the arguments and choose the backend. No torch to import them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pitviper.kernels import registry

if TYPE_CHECKING:
    from torch import Tensor

_MOST_PIXELS = 2**31


def samf_split(
    features: Tensor, scale: Tensor, shift: Tensor, *, backend: registry.BackendChoice = "auto"
) -> tuple[Tensor, Tensor]:
    """What SAMF's two convolutions take: ``F1 * resize(M)`` and ``F2 + resize(A)``, in one launch.

    F1 and F2 are the halves of the channels of F; the prior M, A is read at its own size and interpolated inside, so
    that no resized prior is in memory (arXiv 2512.05511; see `reference`). Differentiable once in all three; the
    gradient of the prior is the same in each run.

    Args:
        features: F [B, C, h, w], C even, h * w below 2^31; float16, bfloat16 or float32 (the torch backend also
            float64), any strides.
        scale: M [B, C / 2, h', w'], any size, over the same field of view.
        shift: A, of the shape of ``scale``.
        backend: ``"auto"``, ``"triton"``, ``"cuda"``, ``"torch"`` (the definition) or ``"host"`` (the body of the
            kernel of ``"cuda"``, run on the CPU to be tested). ``"cuda"`` and ``"host"`` take tensors of one dtype
            with channels last, C a multiple of 16, and have no gradient.

    Returns:
        Two maps [B, C / 2, h, w], in the dtypes to which PyTorch promotes F with M and F with A.

    Raises:
        TypeError: an argument is no floating-point tensor.
        ValueError: wrong shape or device, or an unknown backend.
        BackendUnavailable: the backend was asked for by name and cannot run.
    """
    from pitviper.kernels import tensors

    given = {
        "features": tensors.require_map(features, "features"),
        "scale": tensors.require_map(scale, "scale"),
        "shift": tensors.require_map(shift, "shift"),
    }
    batch, channels, height, width = features.shape
    if channels % 2 or channels == 0:
        raise ValueError(
            f"features must have an even number of channels, two halves, got {list(features.shape)}"
        )
    if tuple(scale.shape[:2]) != (batch, channels // 2):
        raise ValueError(f"scale must be [{batch}, {channels // 2}, height, width], got {list(scale.shape)}")
    if shift.shape != scale.shape:
        raise ValueError(f"shift must have the shape {list(scale.shape)} of scale, got {list(shift.shape)}")
    for name, pixels in (("features", height * width), ("scale", scale.shape[2] * scale.shape[3])):
        if not 0 < pixels < _MOST_PIXELS:
            raise ValueError(f"{name} must have 1 to 2^31 - 1 pixels, got shape {list(given[name].shape)}")
    tensors.require_same_device(given)
    chosen = _choose(backend, given)
    if chosen != "torch":
        from pitviper.kernels.samf_fuse import compiled_op, torch_op

        run = torch_op.split if chosen == "triton" else compiled_op.split
        split: tuple[Tensor, Tensor] = run(features, scale, shift)
        return split
    from pitviper.kernels.samf_fuse import reference

    return reference.samf_split_reference(features, scale, shift)


def samf_join(
    first: Tensor, second: Tensor, features: Tensor, *, backend: registry.BackendChoice = "auto"
) -> Tensor:
    """What follows SAMF's two convolutions: ``concat(first, second) + F``, in one launch and without a copy.

    The gradients are views of the result's (arXiv 2512.05511; see `reference`).

    Args:
        first: [B, C / 2, h, w], any strides; dtypes as for `samf_split`.
        second: of the shape of ``first``.
        features: F [B, C, h, w].
        backend: As in `samf_split`.

    Returns:
        [B, C, h, w], in the dtype to which PyTorch promotes all three.

    Raises:
        TypeError: an argument is no floating-point tensor.
        ValueError: wrong shape or device, or an unknown backend.
        BackendUnavailable: the backend was asked for by name and cannot run.
    """
    from pitviper.kernels import tensors

    given = {
        "first": tensors.require_map(first, "first"),
        "second": tensors.require_map(second, "second"),
        "features": tensors.require_map(features, "features"),
    }
    batch, half, height, width = first.shape
    if second.shape != first.shape:
        raise ValueError(f"second must have the shape {list(first.shape)} of first, got {list(second.shape)}")
    if tuple(features.shape) != (batch, 2 * half, height, width):
        raise ValueError(
            f"features must be {[batch, 2 * half, height, width]}, twice the channels of first, "
            f"got {list(features.shape)}"
        )
    tensors.require_same_device(given)
    chosen = _choose(backend, given)
    if chosen != "torch":
        from pitviper.kernels.samf_fuse import compiled_op, torch_op

        run = torch_op.join if chosen == "triton" else compiled_op.join
        joined: Tensor = run(first, second, features)
        return joined
    from pitviper.kernels.samf_fuse import reference

    return reference.samf_join_reference(first, second, features)


def _choose(backend: str, given: dict[str, Tensor]) -> str:
    from pitviper.kernels import compiled, tensors
    from pitviper.kernels.samf_fuse.compiled_op import MULTIPLE

    unfit = compiled.refusal(backend, given, multiple=MULTIPLE)
    return tensors.choose("samf_fuse", backend, given, compiled_refusal=unfit)
