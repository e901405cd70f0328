# SPDX-License-Identifier: Apache-2.0
"""The public `affine_modulate`: checks the arguments and chooses the backend. Importing it needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pitviper.kernels import registry

if TYPE_CHECKING:
    from torch import Tensor


def affine_modulate(
    features: Tensor,
    gamma: Tensor,
    beta: Tensor,
    *,
    strength: float = 1.0,
    relu: bool = False,
    residual: Tensor | None = None,
    backend: registry.BackendChoice = "auto",
) -> Tensor:
    """``(1 + s (gamma - 1)) f + s beta``, optionally plus a residual, optionally behind a ReLU, in one launch.

    SCAM's application of its parameters to a stage of features (arXiv 2605.14346); see `reference`. With gamma 1 and
    beta 0, or s 0, the result is f itself, bit for bit. Differentiable once in every tensor; half types are computed
    in float32 and rounded once.

    Args:
        features: f [B, C, H, W], float16, bfloat16 or float32 (the torch backend also float64), any strides.
        gamma: [B, C], one value for each channel, or [B, C, H, W], one for each pixel.
        beta: of the shape of ``gamma``.
        strength: s, finite; 0 leaves the features alone. It gets no gradient.
        residual: [B, C, H, W], added before the ReLU.
        backend: ``"auto"``, ``"triton"``, ``"cuda"``, ``"torch"`` (the definition) or ``"host"`` (the body of the
            kernel of ``"cuda"``, run on the CPU to be tested). ``"cuda"`` and ``"host"`` take tensors of one dtype
            whose maps have channels last, C a multiple of 8, and have no gradient.

    Returns:
        [B, C, H, W] in the dtype of ``features``; channels-last where ``features`` is (but for torch), otherwise in
        rows.

    Raises:
        TypeError: an argument is no floating-point tensor.
        ValueError: wrong shape or device, infinite or NaN ``strength``, or an unknown backend.
        BackendUnavailable: the backend was asked for by name and cannot run.

    Example:
        >>> import torch
        >>> f, gamma, beta = torch.tensor([[[[2.0]]]]), torch.tensor([[1.5]]), torch.tensor([[0.2]])
        >>> round(affine_modulate(f, gamma, beta, strength=0.5).item(), 6)
        2.6
    """
    from pitviper.kernels import compiled, tensors
    from pitviper.kernels.affine_modulate import compiled_op

    given = {
        "features": tensors.require_map(features, "features"),
        "gamma": tensors.require_floating(gamma, "gamma"),
        "beta": tensors.require_floating(beta, "beta"),
    }
    if residual is not None:
        given["residual"] = tensors.require_map(residual, "residual")
    _require_shapes(features, gamma, beta, residual)
    tensors.require_same_device(given)
    if not abs(strength) < float("inf"):
        raise ValueError(f"strength must be finite, got {strength}")
    unfit = compiled.refusal(backend, given, multiple=compiled_op.MULTIPLE)
    chosen = tensors.choose("affine_modulate", backend, given, compiled_refusal=unfit)
    if chosen != "torch":
        from pitviper.kernels.affine_modulate import torch_op

        run = torch_op.modulate if chosen == "triton" else compiled_op.modulate
        out: Tensor = run(features, gamma, beta, residual, float(strength), bool(relu))
        return out
    from pitviper.kernels.affine_modulate import reference

    return reference.affine_modulate_reference(
        features, gamma, beta, strength=strength, relu=relu, residual=residual
    )


def _require_shapes(features: Tensor, gamma: Tensor, beta: Tensor, residual: Tensor | None) -> None:
    whole = features.shape
    if gamma.shape not in (whole[:2], whole):
        raise ValueError(
            f"gamma must be {list(whole[:2])}, a value for each channel, or {list(whole)}, one for each pixel, "
            f"got {list(gamma.shape)}"
        )
    if beta.shape != gamma.shape:
        raise ValueError(f"beta must have the shape {list(gamma.shape)} of gamma, got {list(beta.shape)}")
    if residual is not None and residual.shape != whole:
        raise ValueError(
            f"residual must have the shape {list(whole)} of features, got {list(residual.shape)}"
        )
