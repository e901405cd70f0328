# SPDX-License-Identifier: Apache-2.0
"""The plan of a weights package."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pitviper.core.manifest import NETWORK_ONNX, Package
from pitviper.core.plan.arena import place
from pitviper.core.plan.fusing import fuse
from pitviper.core.plan.layout import FrameRule, Launch, Plan, Value
from pitviper.core.plan.lowering import Lowering, PlanError
from pitviper.core.plan.onnx_graph import read_graph
from pitviper.kernels import NORMALISATION
from pitviper.kernels.extract_targets import reference as extraction
from pitviper.kernels.robust import MAD_TO_DEVIATION
from pitviper.kernels.standardise import reference as standardisation


def build_plan(package: Package) -> Plan:
    """The launches that run a package's network, made from its ``network.onnx``.

    Args:
        package: Verified weights package.

    Raises:
        PlanError: The network holds what the fused kernels do not run, or was trained on another normalisation.
    """
    manifest, source = package.manifest, f"{package.path}/{NETWORK_ONNX}"
    if manifest.normalisation != NORMALISATION:
        raise PlanError(
            f"{package.path}: trained on frames of {manifest.normalisation!r}, this version prepares "
            f"{NORMALISATION!r}; install the release that made it"
        )
    try:
        lowered = Lowering(read_graph(package.read(NETWORK_ONNX)))
        steps = fuse(lowered.steps, lowered.values)
    except ValueError as error:
        raise PlanError(f"{source}: {error}; run it with engine='onnxruntime'") from error
    stride = manifest.stride
    if any(stride % value.divisor for value in lowered.values):
        raise PlanError(f"{source}: works at strides that {stride} is no multiple of; get the package again")
    launches, values = _renumbered([step.launch for step in steps], lowered.values)
    sizes = [value.channels * (stride // value.divisor) ** 2 for value in values[1:]]
    offsets, arena = place(sizes, _lives(launches, len(values)))
    places, weights = _stored([step.tensors for step in steps])
    architecture = manifest.architecture
    return Plan(
        name=manifest.name,
        architecture=f"{architecture['name']} version {architecture['version']}",
        stride=stride,
        block=lowered.block,
        threshold=manifest.default_threshold(),
        rule=_frame_rule(),
        values=(values[0], *(replace(v, offset=at) for v, at in zip(values[1:], offsets, strict=True))),
        arena=arena,
        launches=tuple(replace(launch, weights=at) for launch, at in zip(launches, places, strict=True)),
        weights=weights,
    )


def _frame_rule() -> FrameRule:
    return FrameRule(
        NORMALISATION,
        standardisation.RESIDUAL_WEIGHT,
        standardisation.DEVIATION_WEIGHT,
        standardisation.BOX,
        extraction.RING_GAP,
        extraction.RING_REACH,
        extraction.RING_FEWEST,
        MAD_TO_DEVIATION,
    )


def _renumbered(launches: list[Launch], values: list[Value]) -> tuple[list[Launch], list[Value]]:
    """Leaves out the values that no launch writes or reads any more."""
    used = sorted({0, *(v for launch in launches for v in (launch.target, *launch.reads()) if v >= 0)})
    place_of = {value: index for index, value in enumerate(used)} | {-1: -1}
    renumbered = [
        replace(
            launch,
            source=place_of[launch.source],
            target=place_of[launch.target],
            low=place_of[launch.low],
            residual=place_of[launch.residual],
            coarse=place_of[launch.coarse],
        )
        for launch in launches
    ]
    return renumbered, [values[value] for value in used]


def _lives(launches: list[Launch], count: int) -> list[tuple[int, int]]:
    """First and last launch of every value but the frame."""
    first, last = {}, {}
    for index, launch in enumerate(launches):
        last.update(dict.fromkeys((launch.target, *launch.reads()), index))
        first[launch.target] = index
    return [(first[value], last[value]) for value in range(1, count)]


def _stored(
    tensors: list[tuple[NDArray[np.float32], ...]],
) -> tuple[list[tuple[int, ...]], NDArray[np.float32]]:
    """Offsets of the tensors of each launch, and all of them in one array, each at a multiple of 16 floats."""
    places, parts, size = [], [np.zeros(0, np.float32)], 0
    for group in tensors:
        offsets = []
        for tensor in group:
            offsets.append(size if tensor.size else 0)
            flat = np.ravel(tensor)
            parts.append(np.pad(flat, (0, -flat.size % 16)))
            size += parts[-1].size
        places.append(tuple(offsets))
    return places, np.concatenate(parts)
