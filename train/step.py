# SPDX-License-Identifier: Apache-2.0
"""One optimiser step: gradients of its parts are added up, checked, clipped and applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn


@dataclass(frozen=True)
class Part:
    """What a process takes at a time: names of the frames, crops [B, 1, S, S], masks [B, 1, S, S] in [0, 1].

    ``extra`` are further arguments of the task by name; it does without them where one crop is looked at alone. Torch's
    own randomness (dropout) starts at ``seed``, if there is one.
    """

    names: tuple[str, ...]
    images: Tensor
    masks: Tensor
    extra: Mapping[str, Tensor] = field(default_factory=dict)
    seed: int | None = None


class NotFinite(FloatingPointError):
    """A loss or gradient that is no finite number. Weights and optimiser are as they were before the step."""


def take_step(
    fabric: Fabric,
    task: nn.Module,
    optimizer: torch.optim.Optimizer,
    parts: Sequence[Part],
    *,
    clip: float,
) -> dict[str, Tensor]:
    """Change the weights by the mean gradient over all parts of all processes.

    Args:
        fabric: Set up ``task`` and ``optimizer``.
        task: Its forward gives ``loss`` and its parts.
        optimizer: Gradients are cleared at the end.
        parts: Of this process.
        clip: Largest norm of the gradient.

    Returns:
        Means of the losses over the parts of this process, scalars without gradient.

    Raises:
        NotFinite: In every process, when the loss of one or the gradient is not finite; nothing was changed.
    """
    losses: dict[str, Tensor] = {}
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        with fabric.no_backward_sync(task, enabled=not last):  # type: ignore[arg-type]
            if part.seed is not None:
                torch.manual_seed(part.seed)
            images = part.images.contiguous(memory_format=torch.channels_last)
            found = task(images, part.masks, **part.extra)
            fabric.backward(found["loss"] / len(parts))
        for name, value in found.items():
            losses[name] = losses.get(name, 0.0) + value.detach() / len(parts)
    norm = fabric.clip_gradients(task, optimizer, max_norm=clip, error_if_nonfinite=False)
    assert isinstance(norm, Tensor)
    finite = torch.isfinite(losses["loss"])
    if _scale(fabric) is None:
        finite = finite & torch.isfinite(norm)
    if not _everywhere(fabric, finite):
        optimizer.zero_grad(set_to_none=True)
        raise NotFinite(_explain(fabric, task, parts, losses, norm))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    scale = _scale(fabric)
    if scale is not None and scale < 1.0:
        names = ", ".join(name for part in parts for name in part.names)
        raise NotFinite(
            f"the gradient overflows at a scale of {scale:g} still, with {names}; "
            "take --precision bf16-mixed or 32-true"
        )
    return losses


def unwrapped(task: nn.Module) -> nn.Module:
    """The task inside what Fabric made of it."""
    inner = getattr(task, "module", task)
    return inner.module if isinstance(inner, nn.parallel.DistributedDataParallel) else inner


def require_finite(modules: dict[str, nn.Module]) -> None:
    """Refuse modules whose state holds values that are not finite.

    Raises:
        FloatingPointError: The message names the first such tensor of each module.
    """
    for name, module in modules.items():
        for key, value in module.state_dict().items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise FloatingPointError(f"{key} of the {name} is not finite")


def _scale(fabric: Fabric) -> float | None:
    """Of precision "16-mixed", found by trying: a step whose gradient overflows halves it and is left out."""
    scaler = getattr(fabric.strategy.precision, "scaler", None)
    return None if scaler is None else float(scaler.get_scale())


def _everywhere(fabric: Fabric, finite: Tensor) -> bool:
    if fabric.world_size == 1:
        return bool(finite)
    failed = fabric.all_reduce((~finite).float(), reduce_op="sum")
    assert isinstance(failed, Tensor)
    return not bool(failed)


def _explain(
    fabric: Fabric, task: nn.Module, parts: Sequence[Part], losses: dict[str, Tensor], norm: Tensor
) -> str:
    """What is not finite, and the crops of this process: those that fail by themselves, or all if none or all do."""
    values = ", ".join(f"{name} {float(value):.4g}" for name, value in losses.items())
    crops = [
        (name, image, mask)
        for part in parts
        for name, image, mask in zip(part.names, part.images, part.masks, strict=True)
    ]
    alone = [_is_finite_alone(fabric, task, image, mask) for _, image, mask in crops]
    failing = [crop for crop, fine in zip(crops, alone, strict=True) if not fine]
    chosen = failing or crops
    told = "; ".join(_describe(name, image, mask) for name, image, mask in chosen)
    which = f"the crops that fail by themselves, {len(failing)} of {len(crops)}"
    return f"{values}, norm of the gradient {float(norm):.4g}; {which if failing else 'its crops'}: {told}"


def _is_finite_alone(fabric: Fabric, task: nn.Module, image: Tensor, mask: Tensor) -> bool:
    """Whether one crop has a finite loss and gradient; ``eval``, since one crop has no batch statistics."""
    inner = unwrapped(task).eval()
    with fabric.autocast():
        loss = inner(image[None], mask[None])["loss"]
    if not bool(torch.isfinite(loss)):
        return False
    weights = [p for p in inner.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss, weights, allow_unused=True)
    return all(bool(torch.isfinite(gradient).all()) for gradient in found if gradient is not None)


def _describe(name: str, image: Tensor, mask: Tensor) -> str:
    pixels = image.float()
    if strange := int((~torch.isfinite(pixels)).sum()):
        return f"{name} ({strange} pixels are not finite)"
    return (
        f"{name} (from {float(pixels.min()):.3g} to {float(pixels.max()):.3g}, mean {float(pixels.mean()):.3g}, "
        f"deviation {float(pixels.std()):.3g}, {int((mask > 0).sum())} target pixels)"
    )
