# SPDX-License-Identifier: Apache-2.0
"""Joins neighbouring steps, so that a map which only one other step reads never leaves the chip."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pitviper.core.plan.layout import Launch, Op, Value

WIDEST_ON_CHIP: Final = 64
"""Channels of a map that fits into shared memory between two convolutions, or under a head."""
WIDEST_LOW: Final = 128
"""Channels of the lower map of a merge, or of a coarse map, that the kernels take."""


@dataclass(frozen=True)
class Step:
    """A launch before its weights have a place: ``tensors`` stand in the order of `Launch.weights`, empty for none."""

    launch: Launch
    tensors: tuple[NDArray[np.float32], ...]


def fuse(steps: list[Step], values: list[Value]) -> list[Step]:
    """The same computation in fewer steps. The last step is the head, see `Lowering`.

    Raises:
        ValueError: The head cannot join the convolution before it.
    """
    return _join(_join(_with_head(steps, values), _pair, values), _merge, values)


def _join(steps: list[Step], join: Any, values: list[Value]) -> list[Step]:
    """Replaces neighbours by ``join(first, second, values)`` where that is a step."""
    uses = Counter(value for step in steps for value in step.launch.reads())
    found: list[Step] = []
    for step in steps:
        if found and uses[found[-1].launch.target] == 1:
            joined = join(found[-1], step, values)
            if joined is not None:
                found[-1] = joined
                continue
        found.append(step)
    return found


def _pair(first: Step, second: Step, values: list[Value]) -> Step | None:
    """conv-ReLU-conv(-add)-ReLU of one width as one launch: a residual block, or a stem of two convolutions."""
    one, two = first.launch, second.launch
    if not (_plain(one) and one.residual == -1 and _plain(two) and two.source == one.target):
        return None
    channels = values[two.target].channels
    if values[one.target].channels != channels or channels > WIDEST_ON_CHIP:
        return None
    residual = two.residual == one.source and values[one.source].channels == channels
    if not residual and (two.residual != -1 or one.source != 0):
        return None
    launch = Launch(Op.RESIDUAL, one.source, two.target, channels, residual=one.source if residual else -1)
    return Step(launch, (*first.tensors[:2], *second.tensors[:2], *first.tensors[4:]))


def _merge(first: Step, second: Step, values: list[Value]) -> Step | None:
    """An upsampled 1x1 convolution and a skip, added as the input of the 3x3 convolution that alone reads the sum."""
    one, two = first.launch, second.launch
    known = one.op is Op.CONV and one.kernel == 1 and one.stride == 1 and one.residual > 0
    if not known or two.op is not Op.CONV or two.kernel != 3 or two.source != one.target or two.low != -1:
        return None
    if values[one.source].channels > WIDEST_LOW:
        return None
    merged = replace(two, source=one.residual, low=one.source, merge_scale=one.upsample, merge_relu=one.relu)
    return Step(merged, (*second.tensors[:2], *first.tensors[:2], *second.tensors[4:]))


def _with_head(steps: list[Step], values: list[Value]) -> list[Step]:
    """The head as a part of the convolution that alone feeds it."""
    *body, head = steps
    last = body[-1].launch
    inputs = [value for value in (head.launch.source, head.launch.coarse) if value >= 0]
    read = Counter(value for step in steps for value in step.launch.reads())
    if last.target not in inputs or read[last.target] != 1 or last.op is not Op.CONV or last.residual != -1:
        raise ValueError("takes the logits from a map that is not the last convolution's alone")
    if values[last.target].channels > WIDEST_ON_CHIP:
        raise ValueError(
            f"takes the logits from {values[last.target].channels} channels; at most {WIDEST_ON_CHIP} fit"
        )
    fine, coarse, (weight, bias, coarse_weight) = head.launch.source, head.launch.coarse, head.tensors
    if fine != last.target:
        fine, coarse, weight, coarse_weight = coarse, fine, coarse_weight, weight
    if coarse >= 0 and (values[coarse].divisor != 2 or values[coarse].channels > WIDEST_LOW):
        raise ValueError("adds a map to the logits that is not at half the frame's size")
    outputs = weight.shape[0]
    launch = replace(last, target=-1, coarse=coarse, outputs=outputs)
    return [*body[:-1], Step(launch, (*body[-1].tensors[:4], weight, bias[:outputs], coarse_weight))]


def _plain(launch: Launch) -> bool:
    """A 3x3 convolution with ReLU and nothing else that a pair could not hold."""
    shape = launch.kernel, launch.stride, launch.upsample, launch.outputs, launch.low
    return launch.op is Op.CONV and launch.relu and shape == (3, 1, 1, 0, -1)
