# SPDX-License-Identifier: Apache-2.0
"""The median frame as a Chrome trace: open the file in Perfetto or at chrome://tracing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pitviper.sdk.profile import Profile
from pitviper.sdk.profiling.layers import LayerTime

__all__ = ["chrome_trace"]


def chrome_trace(profile: Profile, layers: Sequence[LayerTime]) -> dict[str, Any]:
    """Stages in one row, layers in another, each with its median and laid one behind the other.

    The layers were timed in runs of their own, with the runtime's profiling switched on, so together they need not take
    as long as the stage above them.
    """
    events: list[dict[str, Any]] = [
        {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": f"pitviper {profile.model}"}},
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": 1, "args": {"name": "stages (median)"}},
        {"name": "thread_name", "ph": "M", "pid": 1, "tid": 2, "args": {"name": "layers (profiled runs)"}},
    ]
    at = network = 0.0
    for stage in ("standardise", "network", "extract"):
        spread = profile.stages[stage]
        if stage == "network":
            network = at
        events.append(_event(stage, at, spread.median, 1, spread.to_dict()))
        at += spread.median
    for layer in layers:
        told = {"kernel": layer.kernel, "bytes": layer.cost.bytes_moved, "operations": layer.cost.operations}
        events.append(_event(layer.name, network, layer.spread.median, 2, {**told, **layer.spread.to_dict()}))
        network += layer.spread.median
    about = {"engine": dict(profile.engine), "machine": dict(profile.machine)}
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": about}


def _event(name: str, begin_ms: float, ms: float, row: int, args: dict[str, Any]) -> dict[str, Any]:
    """One bar; the format counts in microseconds."""
    return {
        "name": name,
        "ph": "X",
        "pid": 1,
        "tid": row,
        "ts": 1e3 * begin_ms,
        "dur": 1e3 * ms,
        "args": args,
    }
